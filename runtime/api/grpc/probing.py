"""Has the kernel find out that a peer is gone without a word."""

import socket

import trio


def probe_when_idle(transport: trio.SocketStream, idle: float, dead_after: float) -> None:
    """Have the kernel break a connection whose peer has said nothing for so many seconds, nor acknowledged anything."""
    if transport.socket.family == socket.AF_UNIX:
        return
    interval = max(1, round((dead_after - idle) / 2))
    for option, value in (
        (socket.TCP_KEEPIDLE, max(1, round(idle))),
        (socket.TCP_KEEPINTVL, interval),
        (socket.TCP_KEEPCNT, 2),
        (socket.TCP_USER_TIMEOUT, round(dead_after * 1000)),
    ):
        transport.setsockopt(socket.IPPROTO_TCP, option, value)
    transport.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
