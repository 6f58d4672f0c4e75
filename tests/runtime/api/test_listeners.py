"""Where servers listen for which host."""

import contextlib
import socket

import pytest
import trio

from nodespan.runtime.api.listeners import open_at


@pytest.mark.parametrize(
    ("host", "reached"),
    [
        ("::", {"127.0.0.1", "::1"}),
        ("0:0::0", {"127.0.0.1", "::1"}),
        ("", {"127.0.0.1", "::1"}),
        ("0.0.0.0", {"127.0.0.1"}),
        ("127.0.0.1", {"127.0.0.1"}),
    ],
)
async def test_the_unspecified_address_of_ipv6_stands_for_all_addresses(host: str, reached: set[str]) -> None:
    listeners = await open_at(host, 0)
    try:
        (port,) = {listener.socket.getsockname()[1] for listener in listeners}
        found = {address for address in ("127.0.0.1", "::1") if await answers(address, port)}
        assert found == reached & of_this_machine()
    finally:
        for listener in listeners:
            await listener.aclose()


def of_this_machine() -> set[str]:
    """Those of both addresses that exist here: containers may be without IPv6."""
    found = {"127.0.0.1"}
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        found.add("::1")
    return found


async def answers(address: str, port: int) -> bool:
    try:
        stream = await trio.open_tcp_stream(address, port)
    except OSError:
        return False
    await stream.aclose()
    return True
