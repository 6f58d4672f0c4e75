"""Reads a DHCPv6 server's answer: what it leases, for how long, and the configuration of the network.

An answer without a usable address or server is malformed. Anything else that is invalid is left out, and named in the
lease.
"""

import math
from ipaddress import IPv6Address

from nodespan.controllers.network.dhcp.lease import Lease, LeasedAddress
from nodespan.controllers.network.dhcp.lease4 import SHORTEST_LEASE, SHORTEST_RENEWAL
from nodespan.controllers.network.dhcp.malformed import MalformedError
from nodespan.controllers.network.dhcp.message6 import (
    FOREVER,
    Association,
    Code,
    LeasedAddress6,
    Message6,
    encode,
    parse_association,
    parse_options,
)
from nodespan.controllers.network.dhcp.names import parse_names
from nodespan.controllers.network.dhcp.options import Items, OptionReader, parse_fixed

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


def leased_addresses(association: Association) -> tuple[LeasedAddress6, ...]:
    """The addresses that may be used."""
    return tuple(each for each in association.addresses if _is_usable(each))


def _is_usable(leased: LeasedAddress6) -> bool:
    return leased.valid > 0 and leased.preferred <= leased.valid and not _is_unusable(leased.address)


def lease_of(message: Message6, iaid: int, obtained: float) -> Lease:
    """The lease that a reply gives, from when it was requested. Raises MalformedError."""
    options = OptionReader(message.option)
    association = association_of(message, iaid)
    leased = () if association is None else leased_addresses(association)
    if association is None or not leased:
        raise MalformedError("a reply without an address")
    for error in (*association.errors, *_unusable_addresses(association)):
        options.ignore(Code.IA_NA, error)
    if 0 < association.rebind < association.renew:
        raise MalformedError("a reply with rebinding before renewing")
    server = message.option(Code.SERVER_ID)
    if server is None:
        raise MalformedError("a reply without the server's identifier")
    shortest_preferred = min(each.preferred for each in leased)
    # 0 is for addresses that are not to be used for new connections.
    preferred = _lifetime(shortest_preferred) if shortest_preferred else 0.0
    shortest = min(each.valid for each in leased)
    valid = _lifetime(shortest)
    if shortest < SHORTEST_LEASE:
        options.ignore(Code.IA_NA, f"{shortest} s are too short to renew the lease: {SHORTEST_LEASE:g} s are assumed")
    renew = _seconds(association.renew) or preferred * _RENEW or valid * _RENEW
    rebind = _seconds(association.rebind) or preferred * _REBIND or valid * _REBIND
    hostname, _, domain_name = options.optional(Code.HOST_NAME, _host_name, "").partition(".")
    return Lease(
        server=server.hex(":"),
        message=encode(message),
        obtained=obtained,
        renew_at=obtained + max(renew, SHORTEST_RENEWAL),
        rebind_at=obtained + max(rebind, renew, SHORTEST_RENEWAL),
        expires_at=obtained + valid,
        addresses=tuple(
            LeasedAddress(address=f"{each.address}/{_FULL_LENGTH}", valid_until=obtained + _lifetime(each.valid))
            for each in leased
        ),
        hostname=hostname,
        domain_name=domain_name,
        name_servers=options.items(Code.NAME_SERVERS, _addresses),
        search_domains=options.items(Code.SEARCH_DOMAINS, parse_names),
        time_servers=options.items(Code.TIME_SERVERS, _time_servers)
        or options.items(Code.SIMPLE_TIME_SERVERS, _addresses),
        ignored=options.ignored,
    )


def _unusable_addresses(association: Association) -> list[str]:
    return [
        f"{each.address} for {each.valid} s is not an address to use"
        for each in association.addresses
        # A server takes an address back by a lifetime of 0.
        if each.valid > 0 and not _is_usable(each)
    ]


def _is_unusable(address: IPv6Address) -> bool:
    return address.is_unspecified or address.is_multicast or address.is_loopback or address.is_link_local


def _seconds(lifetime: int) -> float:
    return math.inf if lifetime == FOREVER else float(lifetime)


def _lifetime(seconds: int) -> float:
    return max(_seconds(seconds), SHORTEST_LEASE)


def _addresses(data: bytes) -> Items[str]:
    return parse_fixed(data, 16, _host_address)


def _host_address(data: bytes) -> str:
    address = IPv6Address(data)
    if address.is_unspecified or address.is_multicast:
        raise MalformedError(f"{address} is not the address of a host")
    return str(address)


def _host_name(data: bytes) -> str:
    names = parse_names(data[1:])
    if names.errors or len(names.valid) != 1:
        raise MalformedError("; ".join(names.errors) or f"{len(names.valid)} names instead of one")
    return names.valid[0]


def _time_servers(data: bytes) -> Items[str]:
    try:
        options = parse_options(data)
    except MalformedError as error:
        return Items(errors=(str(error),))
    servers: list[str] = []
    errors: list[str] = []
    for code, body in options:
        if code not in (_TIME_ADDRESS, _TIME_NAME):
            continue
        found = _addresses(body) if code == _TIME_ADDRESS else parse_names(body)
        servers += found.valid
        errors += found.errors
    return Items(tuple(servers), tuple(errors))
