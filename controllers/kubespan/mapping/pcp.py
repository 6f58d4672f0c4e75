"""The Port Control Protocol, RFC 6887: the messages of the opcode MAP. Pure.

    request:   version 2, opcode 1, 16 bits reserved, lifetime, client address
    answer:    version 2, opcode 1 + 0x80, 8 bits reserved, result, lifetime, epoch, 96 bits reserved
    both:      nonce (96 bits), protocol, 24 bits reserved, internal port, external port, external address

Addresses have 16 bytes; one of IPv4 is written as ::ffff:a.b.c.d. A lifetime of 0 deletes. A server that speaks only
NAT-PMP, which came before, answers with version 0 and the result 1.
"""

import struct
from ipaddress import IPv4Address, IPv6Address

import attrs

from nodespan.controllers.kubespan.mapping.mapping import Granted, MappingError, PortMapping, UnsupportedError

PORT = 5351
NONCE_SIZE = 12
_VERSION, _MAP, _ANSWER, _UDP = 2, 1, 0x80, 17
_REQUEST = struct.Struct("!BBHI16s")
_HEAD = struct.Struct("!BBBBII12x")
_BODY = struct.Struct(f"!{NONCE_SIZE}sB3xHH16s")
_UNSUPPORTED_VERSION = 1
_RESULTS = {
    1: "it does not support this version",
    2: "it does not allow it",
    3: "it finds the request malformed",
    4: "it makes no mappings by PCP",
    7: "its network is down",
    8: "it has no room for another mapping",
    9: "it maps no UDP",
    10: "this machine has as many mappings as it may",
    11: "it cannot provide the external port",
    12: "there is another NAT between this machine and it",
}
# These will not be otherwise the next time.
_FINAL = (_UNSUPPORTED_VERSION, 4, 9)


def request(mapping: PortMapping, lifetime: int) -> bytes:
    """The request to map, or with a lifetime of 0 to delete."""
    nonce = bytes.fromhex(mapping.nonce)
    head = _REQUEST.pack(_VERSION, _MAP, 0, lifetime, _mapped(IPv4Address(mapping.client)))
    external = mapping.external_port if lifetime else 0
    return head + _BODY.pack(nonce, _UDP, mapping.internal_port, external, _mapped(IPv4Address(0)))


def answer(packet: bytes, mapping: PortMapping) -> Granted | None:
    """What an answer grants; None if it is none to this mapping. Raises MappingError."""
    if len(packet) >= 4 and packet[0] == 0 and packet[1] & _ANSWER:
        raise UnsupportedError("it does not speak PCP, but NAT-PMP")
    if len(packet) < _HEAD.size:
        return None
    version, opcode, _, result, lifetime, _ = _HEAD.unpack_from(packet)
    if opcode & _ANSWER and (version != _VERSION or result == _UNSUPPORTED_VERSION):
        raise UnsupportedError("it speaks another version of PCP")
    if opcode != _MAP | _ANSWER or len(packet) < _HEAD.size + _BODY.size:
        return None
    nonce, protocol, internal, external, address = _BODY.unpack_from(packet, _HEAD.size)
    if (nonce.hex(), protocol, internal) != (mapping.nonce, _UDP, mapping.internal_port):
        return None
    if result:
        error = UnsupportedError if result in _FINAL else MappingError
        raise error(_RESULTS.get(result, f"it refuses with the code {result}"))
    # One of another family is none: the request was of IPv4.
    found = IPv6Address(address).ipv4_mapped or IPv4Address(0)
    return Granted(mapping=attrs.evolve(mapping, external_port=external), address=found, lifetime=lifetime)


def _mapped(address: IPv4Address) -> bytes:
    return bytes(10) + b"\xff\xff" + address.packed
