"""Addresses of a node in the mesh: a private IPv6 prefix from the cluster id, an interface half from a MAC address.

The prefix (RFC 4193) is made of the SHA-256 of the cluster id's text, with one byte for the purpose of the prefix;
the other half is the modified EUI-64 of the node's first network card (RFC 4291, appendix A).
"""

import enum
import hashlib
from ipaddress import IPv4Address, IPv6Address, IPv6Network

_ULA_BYTE = 0xFD
_PURPOSE_AT = 7
_PREFIX_BYTES = 8


class Purpose(enum.IntEnum):
    """What a prefix derived from a cluster id is for."""

    UNKNOWN = 0
    BOOTSTRAP = 1
    KUBESPAN = 2
    SIDEROLINK = 3
    VIRTUAL_SIDEROLINK = 4


def cluster_prefix(cluster_id: str, purpose: Purpose) -> IPv6Network:
    """The /64 that all nodes of a cluster share for a purpose. The id is hashed as text, whatever it looks like."""
    prefix = bytearray(hashlib.sha256(cluster_id.encode()).digest()[-16:])
    prefix[0] = _ULA_BYTE
    prefix[_PURPOSE_AT] = purpose
    return IPv6Network((bytes(prefix[:_PREFIX_BYTES]) + bytes(8), 64))


def node_address(prefix: IPv6Network, mac: str) -> IPv6Address:
    """The address within the prefix of the node with this hardware address (6 or 8 bytes). Raises ValueError."""
    try:
        raw = bytes.fromhex(mac.replace(":", ""))
    except ValueError:
        raw = b""
    if len(raw) == 6:
        raw = raw[:3] + b"\xff\xfe" + raw[3:]
    if len(raw) != 8:
        raise ValueError(f"no address can be made of the hardware address {mac!r}: it must have 6 or 8 bytes")
    interface = bytes([raw[0] ^ 0x02]) + raw[1:]
    return IPv6Address(prefix.network_address.packed[:_PREFIX_BYTES] + interface)


def has_purpose(address: IPv4Address | IPv6Address, purpose: Purpose) -> bool:
    """Whether an address looks like one of a prefix for this purpose, of any cluster.

    Two bytes are looked at, as the originals do, so a private network whose subnet id ends in the same byte matches.
    """
    packed = address.packed
    return len(packed) == 16 and packed[0] == _ULA_BYTE and packed[_PURPOSE_AT] == purpose
