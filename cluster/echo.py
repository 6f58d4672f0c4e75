"""Ping: one echo request from a network namespace, and its round-trip time. Needs root."""

import os
import socket
import struct
import time
from ipaddress import IPv6Address, ip_address
from pathlib import Path

from nodespan.kernel.netns import in_netns

_HEADER = struct.Struct("!BBHHH")  # type, code, checksum, identifier, sequence
_REQUEST = {4: 8, 6: 128}
_REPLY = {4: 0, 6: 129}
_DATAGRAM = 2048


def checksum(data: bytes) -> int:
    """The internet checksum (RFC 1071)."""
    padded = data + bytes(len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ping(namespace: Path, address: str, *, sequence: int = 1, timeout: float = 1.0) -> float | None:
    """The round-trip time in seconds, None without an answer within the timeout. Blocks.

    A failure to send counts as no answer. Raises FileNotFoundError for a missing namespace.
    """
    target = ip_address(address)
    version = target.version
    identifier = os.getpid() & 0xFFFF
    with in_netns(str(namespace)):
        family, protocol = (
            (socket.AF_INET6, socket.IPPROTO_ICMPV6)
            if isinstance(target, IPv6Address)
            else (socket.AF_INET, socket.IPPROTO_ICMP)
        )
        connection = socket.socket(family, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
    with connection:
        request = _HEADER.pack(_REQUEST[version], 0, 0, identifier, sequence)
        if version == 4:  # the kernel does this for IPv6
            request = _HEADER.pack(_REQUEST[version], 0, checksum(request), identifier, sequence)
        begin = time.monotonic()
        try:
            connection.sendto(request, (address, 0))
        except OSError:
            return None
        while (left := begin + timeout - time.monotonic()) > 0:
            connection.settimeout(left)
            try:
                data, (sender, *_) = connection.recvfrom(_DATAGRAM)
            except TimeoutError:
                return None
            # IPv4 packets include their header.
            body = data[(data[0] & 0xF) * 4 :] if version == 4 else data
            if ip_address(sender) != target or len(body) < _HEADER.size:
                continue
            type, _, _, of, number = _HEADER.unpack_from(body)
            if (type, of, number) == (_REPLY[version], identifier, sequence):
                return time.monotonic() - begin
    return None
