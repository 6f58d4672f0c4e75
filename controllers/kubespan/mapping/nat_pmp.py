"""The NAT Port Mapping Protocol, RFC 6886: its two requests. Pure.

    ask for the external address:  version 0, opcode 0
    answer:                        version 0, opcode 128, result, epoch, address
    map UDP:                       version 0, opcode 1, 16 bits reserved, internal port, external port, lifetime
    answer:                        version 0, opcode 129, result, epoch, internal port, external port, lifetime

A lifetime of 0, with an external port of 0, deletes the mapping of the internal port.
"""

import struct
from ipaddress import IPv4Address

from nodespan.controllers.kubespan.mapping.mapping import MappingError, PortMapping, UnsupportedError

PORT = 5351
ADDRESS_REQUEST = bytes(2)
_MAP_UDP, _ANSWER = 1, 0x80
_MAP = struct.Struct("!BBHHHI")
_HEAD = struct.Struct("!BBHI")
_MAPPED = struct.Struct("!HHI")
_RESULTS = {
    1: "it does not support this version",
    2: "it does not allow it",
    3: "its network is down",
    4: "it has no room for another mapping",
    5: "it maps no UDP",
}
_FINAL = (1, 5)


def request(mapping: PortMapping, lifetime: int) -> bytes:
    """The request to map, or with a lifetime of 0 to delete."""
    return _MAP.pack(0, _MAP_UDP, 0, mapping.internal_port, mapping.external_port if lifetime else 0, lifetime)


def address_answer(packet: bytes) -> IPv4Address | None:
    """The external address that an answer has; None if it is no such answer. Raises MappingError."""
    body = _body(packet, 0)
    return None if body is None or len(body) < 4 else IPv4Address(body[:4])


def answer(packet: bytes, mapping: PortMapping) -> tuple[int, int] | None:
    """The external port and the lifetime that an answer grants; None if it is no answer. Raises MappingError."""
    body = _body(packet, _MAP_UDP)
    if body is None or len(body) < _MAPPED.size:
        return None
    internal, external, lifetime = _MAPPED.unpack_from(body)
    return (external, lifetime) if internal == mapping.internal_port else None


def _body(packet: bytes, opcode: int) -> bytes | None:
    if len(packet) < 4:
        return None
    version, answered, result = struct.unpack_from("!BBH", packet)
    if version or answered != opcode | _ANSWER:
        return None
    if result:
        error = UnsupportedError if result in _FINAL else MappingError
        raise error(_RESULTS.get(result, f"it refuses with the code {result}"))
    return packet[_HEAD.size :]
