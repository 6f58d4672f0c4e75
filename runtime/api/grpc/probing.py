"""What is asked of the kernel for a connection: to find out that a peer is gone, and to keep little that is unsent."""

import socket

import trio

# Probes that are lost before a peer counts as dead. On a path that loses a packet in twenty, two in a row go astray
# every few minutes.
_PROBES = 4
# linux/tcp.h
_TCP_NOTSENT_LOWAT = 25


def probe_when_idle(transport: trio.SocketStream, idle: float, dead_after: float) -> None:
    """Have the kernel break a connection whose peer has said nothing for so many seconds, nor acknowledged anything."""
    if transport.socket.family == socket.AF_UNIX:
        return
    # The kernel counts in whole seconds.
    interval = max(1, int((dead_after - idle) / _PROBES))
    for option, value in (
        (socket.TCP_KEEPIDLE, max(1, round(idle))),
        (socket.TCP_KEEPINTVL, interval),
        (socket.TCP_KEEPCNT, _PROBES),
        (socket.TCP_USER_TIMEOUT, round(dead_after * 1000)),
    ):
        transport.setsockopt(socket.IPPROTO_TCP, option, value)
    transport.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def keep_little(transport: trio.SocketStream, unsent: int) -> None:
    """Have the kernel take no more while so many bytes are not on their way yet."""
    if transport.socket.family != socket.AF_UNIX:
        transport.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, unsent)
