"""Reading a DHCPv6 server's answer: what it lends, for how long, and what else it says of the network.

What the lease cannot do without makes the answer malformed. Anything else that makes no sense is left out.
"""

import math
from collections.abc import Callable
from ipaddress import IPv6Address
from typing import TypeVar

from nodespan.controllers.network.dhcp.lease import Lease, LeasedAddress
from nodespan.controllers.network.dhcp.lease4 import SHORTEST_RENEWAL
from nodespan.controllers.network.dhcp.malformed import MalformedError
from nodespan.controllers.network.dhcp.message6 import (
    FOREVER,
    Association,
    Code,
    LentAddress,
    Message6,
    encode,
    parse_association,
    parse_options,
)
from nodespan.controllers.network.dhcp.names import parse_names

T = TypeVar("T")
D = TypeVar("D")

_RENEW, _REBIND = 0.5, 0.8
_FULL_LENGTH = 128
# Within the option for time servers (RFC 5908).
_TIME_ADDRESS, _TIME_NAME = 1, 3


def association_of(message: Message6, iaid: int) -> Association | None:
    """The client's own association, None if the message has none. Raises MalformedError."""
    for code, data in message.options:
        if code == Code.IA_NA and (found := parse_association(data)).iaid == iaid:
            return found
    return None


def lent_addresses(association: Association) -> tuple[LentAddress, ...]:
    """The addresses that may be used."""
    return tuple(
        lent
        for lent in association.addresses
        if lent.valid > 0 and lent.preferred <= lent.valid and not _is_unusable(lent.address)
    )


def lease_of(message: Message6, iaid: int, obtained: float) -> Lease:
    """The lease that a reply gives, counted from when it was asked for. Raises MalformedError."""
    association = association_of(message, iaid)
    lent = () if association is None else lent_addresses(association)
    if association is None or not lent:
        raise MalformedError("a reply without an address")
    if 0 < association.rebind < association.renew:
        raise MalformedError("a reply that wants rebinding before renewing")
    server = message.option(Code.SERVER_ID)
    if server is None:
        raise MalformedError("a reply without the server's identifier")
    preferred = _seconds(min(each.preferred for each in lent))
    valid = _seconds(min(each.valid for each in lent))
    renew = _seconds(association.renew) or preferred * _RENEW or valid * _RENEW
    rebind = _seconds(association.rebind) or preferred * _REBIND or valid * _REBIND
    search_domains = _optional(message, Code.SEARCH_DOMAINS, parse_names, ())
    hostname, _, domain_name = _optional(message, Code.HOST_NAME, _host_name, "").partition(".")
    return Lease(
        server=server.hex(":"),
        message=encode(message),
        obtained=obtained,
        renew_at=obtained + max(renew, SHORTEST_RENEWAL),
        rebind_at=obtained + max(rebind, renew, SHORTEST_RENEWAL),
        expires_at=obtained + valid,
        addresses=tuple(
            LeasedAddress(address=f"{each.address}/{_FULL_LENGTH}", valid_until=obtained + _seconds(each.valid))
            for each in lent
        ),
        hostname=hostname,
        domain_name=domain_name,
        name_servers=_optional(message, Code.NAME_SERVERS, _addresses, ()),
        search_domains=search_domains,
        time_servers=_optional(message, Code.TIME_SERVERS, _time_servers, ())
        or _optional(message, Code.SIMPLE_TIME_SERVERS, _addresses, ()),
    )


def _is_unusable(address: IPv6Address) -> bool:
    return address.is_unspecified or address.is_multicast or address.is_loopback or address.is_link_local


def _seconds(lifetime: int) -> float:
    return math.inf if lifetime == FOREVER else float(lifetime)


def _addresses(data: bytes) -> tuple[str, ...]:
    if not data or len(data) % 16:
        raise MalformedError(f"{len(data)} bytes are no addresses")
    return tuple(str(IPv6Address(data[at : at + 16])) for at in range(0, len(data), 16))


def _host_name(data: bytes) -> str:
    names = parse_names(data[1:])
    if len(names) != 1:
        raise MalformedError("not one host name")
    return names[0]


def _time_servers(data: bytes) -> tuple[str, ...]:
    servers: list[str] = []
    for code, body in parse_options(data):
        if code == _TIME_ADDRESS:
            servers += _addresses(body)
        elif code == _TIME_NAME:
            servers += parse_names(body)
    return tuple(servers)


def _optional(message: Message6, code: Code, read: Callable[[bytes], T], default: D) -> T | D:
    data = message.option(code)
    if data is None:
        return default
    try:
        return read(data)
    except MalformedError:
        return default
