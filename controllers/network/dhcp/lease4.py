"""Reading a DHCPv4 server's answer: what it lends, for how long, and what else it says of the network.

What the lease cannot do without makes the answer malformed. Anything else that makes no sense is left out.
"""

import math
import struct
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network
from typing import TypeVar

from nodespan.controllers.network.dhcp.lease import Lease, LeasedAddress, LeasedRoute
from nodespan.controllers.network.dhcp.malformed import MalformedError
from nodespan.controllers.network.dhcp.message4 import UNSPECIFIED, Code, Message4, encode
from nodespan.controllers.network.dhcp.names import checked_name, parse_names, text_of

T = TypeVar("T")
D = TypeVar("D")

# Renewals are at least this far from each other, in seconds, however short the lease.
SHORTEST_RENEWAL = 5.0
_FOREVER = 0xFFFFFFFF
_SMALLEST_MTU = 68
_RENEW, _REBIND = 0.5, 0.875


def server_of(message: Message4) -> IPv4Address:
    """Who sent it. Raises MalformedError."""
    return _required(message, Code.SERVER_ID, one_address)


def lease_of(message: Message4, obtained: float) -> Lease:
    """The lease that an acknowledgement gives, counted from when it was asked for. Raises MalformedError."""
    own = message.your_address
    if own == UNSPECIFIED or own.is_multicast or own.is_loopback or own == IPv4Address("255.255.255.255"):
        raise MalformedError(f"{own} cannot be the address of a machine")
    server = server_of(message)
    duration = _required(message, Code.LEASE_TIME, number32)
    if duration == 0:
        raise MalformedError("a lease of no time")
    renew, rebind = _timers(message, duration)
    expires_at = math.inf if duration == _FOREVER else obtained + duration
    length = _prefix_length(message, own)
    return Lease(
        server=str(server),
        message=encode(message),
        obtained=obtained,
        renew_at=obtained + renew,
        rebind_at=obtained + rebind,
        expires_at=expires_at,
        addresses=(LeasedAddress(address=f"{own}/{length}", valid_until=expires_at),),
        routes=_routes(message),
        mtu=_optional(message, Code.MTU, _mtu, 0),
        hostname=_optional(message, Code.HOST_NAME, _name, ""),
        domain_name=_optional(message, Code.DOMAIN_NAME, _name, ""),
        name_servers=_texts(message, Code.NAME_SERVERS),
        search_domains=_optional(message, Code.SEARCH_DOMAINS, parse_names, ()),
        time_servers=_texts(message, Code.TIME_SERVERS),
    )


def _timers(message: Message4, duration: int) -> tuple[float, float]:
    """After how many seconds to renew and to rebind."""
    if duration == _FOREVER:
        return math.inf, math.inf
    renew = _optional(message, Code.RENEWAL_TIME, number32, 0)
    rebind = _optional(message, Code.REBINDING_TIME, number32, 0)
    if not 0 < renew < rebind < duration:
        return max(duration * _RENEW, SHORTEST_RENEWAL), max(duration * _REBIND, SHORTEST_RENEWAL)
    return max(float(renew), SHORTEST_RENEWAL), max(float(rebind), SHORTEST_RENEWAL)


def _prefix_length(message: Message4, own: IPv4Address) -> int:
    mask = _optional(message, Code.SUBNET_MASK, one_address, None)
    if mask is not None:
        bits = f"{int(mask):032b}"
        if "01" not in bits and mask != UNSPECIFIED:
            return bits.count("1")
    # Without a usable mask, the address says it by its class (RFC 2131 is as old as that).
    first = own.packed[0]
    return 8 if first < 128 else 16 if first < 192 else 24


def _routes(message: Message4) -> tuple[LeasedRoute, ...]:
    classless = _optional(message, Code.CLASSLESS_ROUTES, parse_routes, None)
    if classless is not None:
        return classless
    routers = _optional(message, Code.ROUTERS, addresses, ())
    # They are in order of preference, and two default routes of one metric would be one too many.
    return (LeasedRoute(destination="", gateway=str(routers[0])),) if routers else ()


def parse_routes(data: bytes) -> tuple[LeasedRoute, ...]:
    """Classless static routes (RFC 3442). Raises MalformedError."""
    routes: dict[str, LeasedRoute] = {}
    at = 0
    while at < len(data):
        length = data[at]
        significant = (length + 7) // 8
        end = at + 1 + significant + 4
        if length > 32 or end > len(data):
            raise MalformedError("a classless route is cut off or too long")
        packed = data[at + 1 : at + 1 + significant].ljust(4, b"\0")
        network = IPv4Network((packed, length), strict=False)
        gateway = IPv4Address(data[end - 4 : end])
        destination = str(network) if length else ""
        # The first of several for one destination is the one preferred.
        routes.setdefault(
            destination,
            LeasedRoute(destination=destination, gateway="" if gateway == UNSPECIFIED else str(gateway)),
        )
        at = end
    return tuple(routes.values())


def one_address(data: bytes) -> IPv4Address:
    """One address. Raises MalformedError."""
    if len(data) != 4:
        raise MalformedError(f"{len(data)} bytes are no address")
    return IPv4Address(data)


def addresses(data: bytes) -> tuple[IPv4Address, ...]:
    """Several addresses; unspecified ones are left out. Raises MalformedError."""
    if not data or len(data) % 4:
        raise MalformedError(f"{len(data)} bytes are no addresses")
    found = (IPv4Address(data[at : at + 4]) for at in range(0, len(data), 4))
    return tuple(dict.fromkeys(address for address in found if address != UNSPECIFIED))


def number32(data: bytes) -> int:
    """A number. Raises MalformedError."""
    if len(data) != 4:
        raise MalformedError(f"{len(data)} bytes are no number")
    (number,) = struct.unpack("!I", data)
    return int(number)


def _mtu(data: bytes) -> int:
    if len(data) != 2 or int.from_bytes(data) < _SMALLEST_MTU:
        raise MalformedError(f"{data.hex()} is no MTU")
    return int.from_bytes(data)


def _name(data: bytes) -> str:
    return checked_name(text_of(data))


def _texts(message: Message4, code: Code) -> tuple[str, ...]:
    return tuple(map(str, _optional(message, code, addresses, ())))


def _required(message: Message4, code: Code, read: Callable[[bytes], T]) -> T:
    data = message.option(code)
    if data is None:
        raise MalformedError(f"an answer without the option {code.name}")
    try:
        return read(data)
    except MalformedError as error:
        raise MalformedError(f"option {code.name}: {error}") from error


def _optional(message: Message4, code: Code, read: Callable[[bytes], T], default: D) -> T | D:
    data = message.option(code)
    if data is None:
        return default
    try:
        return read(data)
    except MalformedError:
        return default
