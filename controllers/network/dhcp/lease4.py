"""Reads a DHCPv4 server's answer: what it leases, for how long, and the configuration of the network.

An answer without a usable address or server is malformed. Anything else that is invalid is left out, and named in the
lease.
"""

import math
import struct
from ipaddress import IPv4Address, IPv4Network

from nodespan.controllers.network.dhcp.lease import Lease, LeasedAddress, LeasedRoute
from nodespan.controllers.network.dhcp.malformed import MalformedError
from nodespan.controllers.network.dhcp.message4 import UNSPECIFIED, Code, Message4, encode
from nodespan.controllers.network.dhcp.names import checked_name, parse_names, text_of
from nodespan.controllers.network.dhcp.options import Items, OptionReader, parse_fixed

# Renewals are at least this far from each other, in seconds, however short the lease.
SHORTEST_RENEWAL = 5.0
# A shorter lease counts as one of so many seconds: it would end before it may be renewed, and begin again every second.
SHORTEST_LEASE = 8.0
# For a server that gives no lease time, as those of BOOTP do.
ASSUMED_LEASE = 3600.0
_FOREVER = 0xFFFFFFFF
_SMALLEST_MTU = 68
_LONGEST_PREFIX = 32
_RENEW, _REBIND = 0.5, 0.875


def server_of(message: Message4) -> IPv4Address:
    """The server that sent it. Raises MalformedError."""
    return OptionReader(message.option).required(Code.SERVER_ID, one_address)


def lease_of(message: Message4, obtained: float) -> Lease:
    """The lease that an offer or an acknowledgement gives, from when it was requested. Raises MalformedError."""
    own = message.your_address
    if own == UNSPECIFIED or own.is_multicast or own.is_loopback or own == IPv4Address("255.255.255.255"):
        raise MalformedError(f"{own} cannot be the address of a host")
    options = OptionReader(message.option)
    server = options.required(Code.SERVER_ID, one_address)
    duration = _duration(message, options)
    renew, rebind = _timers(options, duration)
    expires_at = obtained + duration
    length = _prefix_length(options, own)
    domain_name, further_domains = _domains(options)
    return Lease(
        server=str(server),
        message=encode(message),
        obtained=obtained,
        renew_at=obtained + renew,
        rebind_at=obtained + rebind,
        expires_at=expires_at,
        addresses=(LeasedAddress(address=f"{own}/{length}", valid_until=expires_at),),
        routes=_routes(options),
        mtu=options.optional(Code.MTU, _mtu, 0),
        hostname=options.optional(Code.HOST_NAME, _name, ""),
        domain_name=domain_name,
        name_servers=_texts(options, Code.NAME_SERVERS),
        search_domains=options.items(Code.SEARCH_DOMAINS, parse_names) or further_domains,
        time_servers=_texts(options, Code.TIME_SERVERS),
        ignored=options.ignored,
    )


def _duration(message: Message4, options: OptionReader[Code]) -> float:
    """The lease time in seconds, infinite for a lease without an end."""
    if message.option(Code.LEASE_TIME) is None:
        options.ignore(Code.LEASE_TIME, f"the server gives none: {ASSUMED_LEASE:g} s are assumed")
        return ASSUMED_LEASE
    duration = options.required(Code.LEASE_TIME, number32)
    if duration == 0:
        raise MalformedError("option LEASE_TIME: a lease of 0 s")
    if duration < SHORTEST_LEASE:
        options.ignore(
            Code.LEASE_TIME, f"{duration} s are too short to renew the lease: {SHORTEST_LEASE:g} s are assumed"
        )
        return SHORTEST_LEASE
    return math.inf if duration == _FOREVER else float(duration)


def _timers(options: OptionReader[Code], duration: float) -> tuple[float, float]:
    """After how many seconds to renew and to rebind."""
    renew = options.optional(Code.RENEWAL_TIME, number32, None)
    rebind = options.optional(Code.REBINDING_TIME, number32, None)
    if math.isinf(duration):
        return math.inf, math.inf
    if renew is not None and rebind is not None and 0 < renew < rebind < duration:
        return max(float(renew), SHORTEST_RENEWAL), max(float(rebind), SHORTEST_RENEWAL)
    if renew is not None and rebind is not None:
        options.ignore(Code.RENEWAL_TIME, f"{renew} s and {rebind} s do not fit a lease of {duration:g} s")
    return max(duration * _RENEW, SHORTEST_RENEWAL), max(duration * _REBIND, SHORTEST_RENEWAL)


def _domains(options: OptionReader[Code]) -> tuple[str, tuple[str, ...]]:
    """The domain, and where the server gives several in its option, as many do, all of them."""
    names = options.optional(Code.DOMAIN_NAME, _names, ())
    return (names[0], names if len(names) > 1 else ()) if names else ("", ())


def _names(data: bytes) -> tuple[str, ...]:
    return tuple(map(checked_name, text_of(data).split(" ")))


def _prefix_length(options: OptionReader[Code], own: IPv4Address) -> int:
    length = options.optional(Code.SUBNET_MASK, _mask_length, 0)
    if length:
        return length
    # Without a usable mask the class of the address gives it (RFC 2131 is as old as that).
    first = own.packed[0]
    return 8 if first < 128 else 16 if first < 192 else 24


def _mask_length(data: bytes) -> int:
    mask = one_address(data)
    bits = f"{int(mask):032b}"
    if "01" in bits or mask == UNSPECIFIED:
        raise MalformedError(f"{mask} is not a subnet mask")
    return bits.count("1")


def _routes(options: OptionReader[Code]) -> tuple[LeasedRoute, ...]:
    # Classless routes replace the routers, unless none of them is valid.
    classless = options.optional(Code.CLASSLESS_ROUTES, lambda data: data, None)
    routes = options.items(Code.CLASSLESS_ROUTES, parse_routes)
    routers = options.items(Code.ROUTERS, addresses)
    if routes or classless == b"":
        return routes
    # They are in order of preference, and there can be only one default route of one metric.
    return (LeasedRoute(destination="", gateway=str(routers[0])),) if routers else ()


def parse_routes(data: bytes) -> Items[LeasedRoute]:
    """Classless static routes (RFC 3442). After one that is cut off or too long the rest is an error."""
    routes: dict[str, LeasedRoute] = {}
    errors: list[str] = []
    at = 0
    while at < len(data):
        length = data[at]
        significant = (length + 7) // 8
        end = at + 1 + significant + 4
        if length > _LONGEST_PREFIX or end > len(data):
            what = f"a prefix of {length} bits" if length > _LONGEST_PREFIX else "a route that is cut off"
            errors.append(f"{what}, at byte {at} of {len(data)}: the rest is left out")
            break
        packed = data[at + 1 : at + 1 + significant].ljust(4, b"\0")
        network = IPv4Network((packed, length), strict=False)
        gateway = IPv4Address(data[end - 4 : end])
        destination = str(network) if length else ""
        if gateway.is_multicast or gateway.is_loopback or network.is_multicast:
            errors.append(f"{network} via {gateway} is not a route")
        else:
            # The first of several for one destination is the preferred one.
            routes.setdefault(
                destination,
                LeasedRoute(destination=destination, gateway="" if gateway == UNSPECIFIED else str(gateway)),
            )
        at = end
    return Items(tuple(routes.values()), tuple(errors))


def one_address(data: bytes) -> IPv4Address:
    """One address. Raises MalformedError."""
    if len(data) != 4:
        raise MalformedError(f"{len(data)} bytes are not an IPv4 address")
    return IPv4Address(data)


def addresses(data: bytes) -> Items[IPv4Address]:
    """Several addresses, each once; unspecified ones are left out without an error."""
    found = parse_fixed(data, 4, _host_address)
    return Items(tuple(dict.fromkeys(address for address in found.valid if address != UNSPECIFIED)), found.errors)


def _host_address(data: bytes) -> IPv4Address:
    address = one_address(data)
    if address.is_multicast or address == IPv4Address("255.255.255.255"):
        raise MalformedError(f"{address} is not the address of a host")
    return address


def number32(data: bytes) -> int:
    """A number. Raises MalformedError."""
    if len(data) != 4:
        raise MalformedError(f"{len(data)} bytes are not a number")
    (number,) = struct.unpack("!I", data)
    return int(number)


def _mtu(data: bytes) -> int:
    if len(data) != 2 or int.from_bytes(data) < _SMALLEST_MTU:
        raise MalformedError(f"{data.hex()} is not an MTU")
    return int.from_bytes(data)


def _name(data: bytes) -> str:
    return checked_name(text_of(data))


def _texts(options: OptionReader[Code], code: Code) -> tuple[str, ...]:
    return tuple(map(str, options.items(code, addresses)))
