"""UDP in IPv4 by hand, for a link that has no address yet: the packet with its checksums, and reading one."""

import struct
from ipaddress import IPv4Address

import attrs

_IP = struct.Struct("!BBHHHBBH4s4s")
_UDP = struct.Struct("!HHHH")
_PSEUDO = struct.Struct("!4s4sBBH")
_VERSION_AND_LENGTH = 0x45
_PROTOCOL = 17
_HOPS = 64
_FRAGMENT = 0x3FFF


class DatagramError(ValueError):
    """A packet that is not a whole UDP datagram, or is damaged."""


@attrs.frozen(kw_only=True)
class Datagram:
    """A datagram from port to port."""

    source: IPv4Address
    destination: IPv4Address
    source_port: int
    destination_port: int
    payload: bytes


def checksum(data: bytes) -> int:
    """The one's complement sum that IPv4 and UDP use (RFC 1071)."""
    padded = data + b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def encode(datagram: Datagram) -> bytes:
    """The packet, beginning with the IP header."""
    source, destination = datagram.source.packed, datagram.destination.packed
    length = _UDP.size + len(datagram.payload)
    pseudo = _PSEUDO.pack(source, destination, 0, _PROTOCOL, length)
    ports = (datagram.source_port, datagram.destination_port)
    # Zero would mean that there is no checksum.
    sum = checksum(pseudo + _UDP.pack(*ports, length, 0) + datagram.payload) or 0xFFFF

    def header(sum: int) -> bytes:
        total = _IP.size + length
        return _IP.pack(_VERSION_AND_LENGTH, 0, total, 0, 0, _HOPS, _PROTOCOL, sum, source, destination)

    return header(checksum(header(0))) + _UDP.pack(*ports, length, sum) + datagram.payload


def decode(packet: bytes, *, is_summed: bool = True) -> Datagram:
    """The datagram in a packet that begins with the IP header. Raises DatagramError.

    Not `is_summed`: the sender left the UDP checksum to a network card, and there was none on the way.
    """
    if len(packet) < _IP.size:
        raise DatagramError("cut off")
    version, _, total, _, fragment, _, protocol, _, source, destination = _IP.unpack_from(packet)
    start = (version & 0xF) * 4
    if version >> 4 != 4 or start < _IP.size or not start + _UDP.size <= total <= len(packet):
        raise DatagramError("no whole IPv4 packet")
    if protocol != _PROTOCOL or fragment & _FRAGMENT:
        raise DatagramError("not UDP, or a fragment")
    if checksum(packet[:start]):
        raise DatagramError("the IP header is damaged")
    source_port, destination_port, length, sum = _UDP.unpack_from(packet, start)
    if not _UDP.size <= length <= total - start:
        raise DatagramError("no whole UDP datagram")
    body = packet[start : start + length]
    if is_summed and sum and checksum(_PSEUDO.pack(source, destination, 0, _PROTOCOL, length) + body):
        raise DatagramError("the datagram is damaged")
    return Datagram(
        source=IPv4Address(source),
        destination=IPv4Address(destination),
        source_port=source_port,
        destination_port=destination_port,
        payload=body[_UDP.size :],
    )
