"""Addresses and prefixes as text and as the bytes of kernel messages."""

import functools
import socket
from ipaddress import ip_interface, ip_network

import attrs

# Plans parse the same texts over and over.
_remembered = functools.lru_cache(maxsize=1 << 14)
_LENGTHS = {str(length): length for length in range(33)}


@attrs.frozen
class Prefix:
    """An address and a prefix length; host bits may be set."""

    packed: bytes
    length: int

    @property
    def text(self) -> str:
        """The form of kernel statuses: `10.0.0.5/24`."""
        return _shown(self.packed, self.length)


@_remembered
def _shown(packed: bytes, length: int) -> str:
    family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
    return f"{socket.inet_ntop(family, packed)}/{length}"


@_remembered
def parse_address(text: str) -> Prefix:
    """An address with its prefix length, by default the full one. Raises ValueError."""
    if (plain := _plain_ipv4(text)) is not None:
        return plain
    interface = ip_interface(text)
    return Prefix(interface.ip.packed, interface.network.prefixlen)


def _plain_ipv4(text: str) -> Prefix | None:
    """What most texts are, an IPv4 address with or without its length, in a fifth of the time; None for any other."""
    address, slash, length = text.partition("/")
    bits = _LENGTHS.get(length) if slash else 32
    if bits is None:
        return None
    try:
        return Prefix(socket.inet_pton(socket.AF_INET, address), bits)
    except (OSError, ValueError):
        return None


@_remembered
def parse_prefix(text: str) -> Prefix | None:
    """A prefix, None for "" and for the prefix of length 0. Raises ValueError."""
    if not text:
        return None
    if (plain := _plain_ipv4(text)) is not None:
        mask = (1 << 32) - (1 << (32 - plain.length))
        masked = int.from_bytes(plain.packed) & mask
        return Prefix(masked.to_bytes(4), plain.length) if plain.length else None
    network = ip_network(text, strict=False)
    return Prefix(network.network_address.packed, network.prefixlen) if network.prefixlen else None


@_remembered
def prefix_text(text: str) -> str:
    """The canonical text of a prefix: `""` for the default route. Raises ValueError."""
    prefix = parse_prefix(text)
    return "" if prefix is None else prefix.text


def pack_ip(text: str) -> bytes:
    """4 or 16 bytes, none for "". Raises ValueError."""
    return parse_address(text).packed if text else b""


@_remembered
def ip_text(text: str) -> str:
    """The canonical text of an address, "" for none. Raises ValueError."""
    return parse_address(text).text.partition("/")[0] if text else ""
