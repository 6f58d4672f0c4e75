"""Neighbour discovery, IPv6's counterpart of ARP.

Announcements are unsolicited advertisements (RFC 4861, 7.2.6), probes those of duplicate address detection.
Frames are built here: the kernel sends neither a probe from the unspecified address nor an announcement
before its own duplicate address detection ends.
"""

import socket
import struct
from typing import Self

from nodespan.kernel.netns import in_netns
from nodespan.kernel.packet_sockets import bind_to_link, restrict_to_link

_ETHERTYPE_IPV6 = 0x86DD
_ICMPV6 = 58
_SOLICITATION = 135
_ADVERTISEMENT = 136
_OVERRIDE = 0x20000000
_TARGET_LINK_ADDRESS = 2
# Only frames from the same link arrive with this hop limit.
_HOP_LIMIT = 255
_VERSION = 6 << 28
_ALL_NODES = socket.inet_pton(socket.AF_INET6, "ff02::1")
_SOLICITED_NODE = socket.inet_pton(socket.AF_INET6, "ff02::1:ff00:0")
_UNSPECIFIED = bytes(16)
_MULTICAST = b"\x33\x33"

_ICMPV6_FILTER = 1
_PACKET = 2048
# Type, code, checksum, flags, target.
_MESSAGE = struct.Struct("!BBHI16s")


def announcement(address: bytes, hardware_address: bytes) -> bytes:
    """The frame of an unsolicited advertisement to all nodes, which overrides their caches."""
    option = struct.pack("!BB6s", _TARGET_LINK_ADDRESS, 1, hardware_address)
    return _frame(hardware_address, address, _ALL_NODES, _ADVERTISEMENT, _OVERRIDE, address, option)


def probe_frame(address: bytes, hardware_address: bytes) -> bytes:
    """The frame of a probe for the address, as in duplicate address detection."""
    asked = _SOLICITED_NODE[:13] + address[13:]
    return _frame(hardware_address, _UNSPECIFIED, asked, _SOLICITATION, 0, address, b"")


def _frame(
    hardware_address: bytes, source: bytes, destination: bytes, kind: int, flags: int, target: bytes, option: bytes
) -> bytes:
    body = _MESSAGE.pack(kind, 0, 0, flags, target) + option
    pseudo_header = source + destination + struct.pack("!II", len(body), _ICMPV6)
    message = _MESSAGE.pack(kind, 0, checksum(pseudo_header + body), flags, target) + option
    header = struct.pack("!IHBB", _VERSION, len(message), _ICMPV6, _HOP_LIMIT) + source + destination
    ethernet = _MULTICAST + destination[12:] + hardware_address + struct.pack("!H", _ETHERTYPE_IPV6)
    return ethernet + header + message


def checksum(data: bytes) -> int:
    """The internet checksum of an even number of bytes."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def claimant(message: bytes, address: bytes) -> bytes | None:
    """The hardware address that an advertisement of the address contains, b"" without one; None for other addresses."""
    if len(message) < _MESSAGE.size:
        return None
    kind, _, _, _, target = _MESSAGE.unpack_from(message)
    if kind != _ADVERTISEMENT or target != address:
        return None
    offset = _MESSAGE.size
    while offset + 8 <= len(message) and message[offset + 1]:
        if message[offset] == _TARGET_LINK_ADDRESS:
            return message[offset + 2 : offset + 8]
        offset += 8 * message[offset + 1]
    return b""


class NdiscSocket:
    """Sends probes and announcements on a link of a network namespace, receives advertisements; see `ArpSocket`."""

    def __init__(self, link_name: str, hardware_address: bytes, netns: str | None) -> None:
        self._hardware_address = hardware_address
        with in_netns(netns):
            # With protocol 0 it receives nothing: the other socket does, with the kernel's filter.
            self._frames = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC)
            try:
                self._messages = socket.socket(
                    socket.AF_INET6, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, socket.IPPROTO_ICMPV6
                )
            except OSError:
                self._frames.close()
                raise
        try:
            bind_to_link(self._frames, link_name, 0)
            restrict_to_link(self._messages, link_name)
            self._messages.setsockopt(socket.IPPROTO_ICMPV6, _ICMPV6_FILTER, _passing_only(_ADVERTISEMENT))
        except OSError:
            self._close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        self._messages.close()
        self._frames.close()

    def fileno(self) -> int:
        """Readable when advertisements have arrived."""
        return self._messages.fileno()

    def announce(self, address: bytes) -> None:
        """Announce the address."""
        self._frames.send(announcement(address, self._hardware_address))

    def probe(self, address: bytes) -> None:
        """Probe for the address."""
        self._frames.send(probe_frame(address, self._hardware_address))

    def receive_claim(self, address: bytes) -> bytes | None:
        """The hardware address of another claimant in what was received so far, None if there is none."""
        while True:
            try:
                message = self._messages.recv(_PACKET)
            except BlockingIOError:
                return None
            found = claimant(message, address)
            if found not in (None, self._hardware_address):
                return found


def _passing_only(kind: int) -> bytes:
    """The kernel's filter, in which a set bit blocks a type."""
    words = [0xFFFFFFFF] * 8
    words[kind // 32] &= ~(1 << kind % 32) & 0xFFFFFFFF
    return struct.pack("=8I", *words)
