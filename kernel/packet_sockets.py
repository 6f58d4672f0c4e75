"""Binds packet sockets to links: Python takes only names that are text, and the kernel any."""

import ctypes
import errno
import fcntl
import os
import socket
import struct

from nodespan.kernel.outside_text import bytes_of

_SIOCGIFINDEX = 0x8933
_LONGEST = 15
_REQUEST = struct.Struct("=16si20x")
_ADDRESS = struct.Struct("=H2siHBB8s")


def link_request(name: str) -> bytes:
    """A link's name as requests have it. Raises OSError for one that no link can have."""
    raw = bytes_of(name)
    if not 0 < len(raw) <= _LONGEST:
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
    return raw


def bind_to_link(packets: socket.socket, name: str, protocol: int) -> None:
    """Bind a socket of AF_PACKET to a link of its network namespace, for packets of this protocol. Raises OSError."""
    answer = fcntl.ioctl(packets, _SIOCGIFINDEX, _REQUEST.pack(link_request(name), 0))
    index = _REQUEST.unpack(answer)[1]
    address = _ADDRESS.pack(socket.AF_PACKET, protocol.to_bytes(2, "big"), index, 0, 0, 0, bytes(8))
    if ctypes.CDLL(None, use_errno=True).bind(packets.fileno(), address, len(address)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def restrict_to_link(port: socket.socket, name: str) -> None:
    """Have a socket send and receive over this link only. Raises OSError."""
    port.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, link_request(name) + b"\0")
