"""Enters another network namespace for as long as it takes to open sockets there."""

import contextlib
import ctypes
import os
import socket
import struct
from collections.abc import Iterator

_CLONE_NEWNET = 0x40000000
_OWN = "/proc/thread-self/ns/net"
# From asm-generic/socket.h; Linux 5.14.
_SO_NETNS_COOKIE = 71


def _setns(fd: int) -> None:
    # os.setns exists from Python 3.12 on.
    if ctypes.CDLL(None, use_errno=True).setns(fd, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"cannot enter the network namespace: {os.strerror(number)}")


@contextlib.contextmanager
def in_netns(path: str | None) -> Iterator[None]:
    """Move only the calling thread into the namespace at `path` (`/run/netns/n1`); None stays.

    Sockets keep the namespace they were opened in. Do not await inside: another task of the thread would run
    in the wrong namespace. Needs CAP_SYS_ADMIN. Raises FileNotFoundError for a wrong path.
    """
    if path is None:
        yield
        return
    with contextlib.ExitStack() as stack:
        home = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
        stack.callback(os.close, home)
        target = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        stack.callback(os.close, target)
        _setns(target)
        try:
            yield
        finally:
            try:
                _setns(home)
            except OSError:
                # A thread that serves other tasks from the wrong namespace would configure the wrong network.
                os.abort()


def namespace_id() -> str:
    """What tells the network namespace of this thread from all others since boot, as far as the kernel knows.

    Before Linux 5.14 it is the number of its file, which a later namespace may get again.
    """
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as probe:
            cookie = probe.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8)
        return f"netns {struct.unpack('=Q', cookie)[0]}"
    except OSError:
        try:
            return os.readlink(_OWN)
        except OSError:
            return ""
