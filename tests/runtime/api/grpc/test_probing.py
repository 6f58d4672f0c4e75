"""How often the kernel probes an idle peer before it counts as dead."""

import socket

import pytest
import trio

from nodespan.runtime.api.grpc.probing import probe_when_idle


@pytest.mark.parametrize(("idle", "dead_after"), [(4.0, 10.0), (10.0, 20.0), (30.0, 50.0), (10.0, 30.0)])
async def test_no_peer_is_given_up_before_four_probes_are_lost(idle: float, dead_after: float) -> None:
    with trio.socket.socket() as plain:
        probe_when_idle(trio.SocketStream(plain), idle, dead_after)
        after, interval, count, timeout = (
            plain.getsockopt(socket.IPPROTO_TCP, option)
            for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT)
        )
    # The first is sent after the idle time; the timeout ends the connection when the next one would be sent.
    assert after + 4 * interval <= timeout / 1000 == dead_after
    assert count == 4
