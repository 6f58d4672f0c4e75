"""ARP: announces an IPv4 address to the neighbours of a link, and probes for other owners.

Probes follow RFC 5227: their sender address is zero, so that neighbours do not learn it as the owner.
"""

import socket
import struct
from typing import Self

from nodespan.kernel.netns import in_netns
from nodespan.kernel.packet_sockets import bind_to_link

_ETHERTYPE_ARP = 0x0806
_ETHERNET = 1
_ETHERTYPE_IPV4 = 0x0800
_REQUEST = 1
_BROADCAST = b"\xff" * 6
_NOBODY = bytes(6)
_NO_ADDRESS = bytes(4)
_FRAME = 2048
_PACKET = struct.Struct("!HHBBH6s4s6s4s")
_ETHERNET_HEADER = 14


def announcement(address: bytes, hardware_address: bytes) -> bytes:
    """The frame of an announcement: a request with this link as sender and target."""
    return _request(hardware_address, hardware_address + address, hardware_address + address)


def probe_frame(address: bytes, hardware_address: bytes) -> bytes:
    """The frame of a probe for the address."""
    return _request(hardware_address, hardware_address + _NO_ADDRESS, _NOBODY + address)


def _request(source: bytes, sender: bytes, target: bytes) -> bytes:
    header = _BROADCAST + source + struct.pack("!H", _ETHERTYPE_ARP)
    body = struct.pack("!HHBBH", _ETHERNET, _ETHERTYPE_IPV4, 6, 4, _REQUEST)
    return header + body + sender + target


def claimant(frame: bytes, address: bytes) -> bytes | None:
    """The hardware address of the sender if this frame claims the address, else None."""
    packet = frame[_ETHERNET_HEADER : _ETHERNET_HEADER + _PACKET.size]
    if len(packet) < _PACKET.size:
        return None
    kind, protocol, _, _, _, sender, sender_address, _, _ = _PACKET.unpack(packet)
    is_about_it = (kind, protocol, sender_address) == (_ETHERNET, _ETHERTYPE_IPV4, address)
    return bytes(sender) if is_about_it else None


class ArpSocket:
    """Sends and receives ARP frames on a link of a network namespace (a path; None: the current one).

    Raises OSError: without CAP_NET_RAW, or if the link does not exist.
    """

    def __init__(self, link_name: str, hardware_address: bytes, netns: str | None) -> None:
        self._hardware_address = hardware_address
        with in_netns(netns):
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            bind_to_link(self._socket, link_name, _ETHERTYPE_ARP)
        except OSError:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def fileno(self) -> int:
        """Readable when frames have arrived."""
        return self._socket.fileno()

    def announce(self, address: bytes) -> None:
        """Announce the address."""
        self._socket.send(announcement(address, self._hardware_address))

    def probe(self, address: bytes) -> None:
        """Probe for the address."""
        self._socket.send(probe_frame(address, self._hardware_address))

    def receive_claim(self, address: bytes) -> bytes | None:
        """The hardware address of another claimant in the frames received so far, None if there is none."""
        while True:
            try:
                frame = self._socket.recv(_FRAME)
            except BlockingIOError:
                return None
            found = claimant(frame, address)
            if found not in (None, self._hardware_address):
                return found
