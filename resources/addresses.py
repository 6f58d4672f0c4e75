"""IP addresses, prefixes and endpoints: as text, and as bytes on the wire.

An address is 4 bytes (IPv4) or 16 (IPv6), in network order, followed by the zone of an IPv6 address as text. An
IPv4-mapped IPv6 address stays mapped. No address is empty, in both forms. A prefix keeps its address as written,
including host bits, with its length in a separate field.

    address             bytes                                   text
    IPv4                c0 a8 03 04                             192.168.3.4
    IPv6                20 01 0d b8 ... 01                      2001:db8::1
    IPv4-mapped IPv6    00 ... 00 ff ff 01 02 03 04             ::ffff:1.2.3.4
    IPv6 with a zone    fe 80 ... 01 65 74 68 30                fe80::1%eth0
    none                                                        (empty)
"""

import ipaddress
import socket

_IPV4_SIZE, _IPV6_SIZE = 4, 16
_HIGHEST_PORT = 0xFFFF
# Bytes of the name of a link.
_LONGEST_ZONE = 15

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class AddressError(ValueError):
    """The bytes or the text are not a valid address, prefix or endpoint."""


def parse_address(text: str) -> IPAddress:
    """Parse an address. Raises AddressError."""
    try:
        return ipaddress.ip_address(text)
    except ValueError as error:
        raise AddressError(f"{text!r} is not an IP address") from error


def format_address(address: IPAddress) -> str:
    """The text of an address. Not str(): its form of mapped addresses depends on the version of Python."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        zone = "" if address.scope_id is None else f"%{address.scope_id}"
        return f"::ffff:{address.ipv4_mapped}{zone}"
    return str(address)


def encode_address(text: str) -> bytes:
    """The bytes of an address, none for "". Raises AddressError."""
    if not text:
        return b""
    try:  # as `parse_address` reads all but a zone, and several times as fast
        return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)
    except (OSError, ValueError):
        address = parse_address(text)
    zone = address.scope_id if isinstance(address, ipaddress.IPv6Address) else None
    return address.packed + (zone or "").encode()


def decode_address(packed: bytes) -> str:
    """The text of an address, "" for no bytes. Raises AddressError for other lengths and invalid zones."""
    if not packed:
        return ""
    if len(packed) == _IPV4_SIZE:
        return socket.inet_ntop(socket.AF_INET, packed)
    if len(packed) < _IPV6_SIZE:
        raise AddressError(f"an IP address has 4 or 16 bytes, not {len(packed)}")
    address = ipaddress.IPv6Address(packed[:_IPV6_SIZE])
    if len(packed) > _IPV6_SIZE:
        try:
            zone = packed[_IPV6_SIZE:].decode()
            if len(packed) > _IPV6_SIZE + _LONGEST_ZONE or not zone.isprintable():
                raise ValueError(zone)
            address = ipaddress.IPv6Address(f"{address}%{zone}")
        except ValueError as error:
            raise AddressError("the zone of an IPv6 address is not a valid name of a link") from error
    return format_address(address)


def split_prefix(text: str) -> tuple[bytes, int]:
    """The bytes and the length of a prefix. Raises AddressError."""
    address, slash, length = text.partition("/")
    if not (address and slash and length.isascii() and length.isdecimal()):
        raise AddressError(f"{text!r} is not a prefix, write it like 10.0.0.0/8")
    return encode_address(address), int(length)


def join_prefix(packed: bytes, length: int) -> str:
    """The text of a prefix. A length that is invalid for the family is kept: the reader decides.

    Raises AddressError.
    """
    address = decode_address(packed)
    if not address:
        raise AddressError("a prefix has no address")
    return f"{address}/{length}"


def split_endpoint(text: str) -> tuple[bytes, int]:
    """The bytes of the address and the port of `ip:port` or `[ip]:port`. Raises AddressError."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise AddressError(f"{text!r} is not an endpoint, write it like [2001:db8::1]:51820")
    if not (host and colon and port.isascii() and port.isdecimal() and int(port[:6]) <= _HIGHEST_PORT):
        raise AddressError(f"{text!r} is not an endpoint, write it like 192.0.2.1:51820")
    return encode_address(host), int(port)


def join_endpoint(packed: bytes, port: int) -> str:
    """The text of an endpoint; the low 16 bits of the port count. Raises AddressError."""
    address = decode_address(packed)
    if not address:
        raise AddressError("an endpoint has no address")
    port &= _HIGHEST_PORT
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
