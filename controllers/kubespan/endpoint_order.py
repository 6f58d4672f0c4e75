"""In which order the endpoints of a peer are tried, and which of them when: pure rules.

Where this node is says which endpoints of a peer can work. Those that are likely to come first; within each line below
the order is the peer's own:

    those in a network that this node is on itself, and all private ones of a peer behind the same public address
    public ones: where a router maps a port, which a discovery service sees, which the operator added
    private ones of a peer that is elsewhere
    those at a relay that this node knows

A private network may reach over several sites: private endpoints count as elsewhere only if this node and the peer both
have a public address, and not the same one. Where others see the peer at one other port of a public address than it
announces, its router maps that port for everybody, and the announced one, a guess, is tried after it; a guess has the
port of the peer's private endpoints, another one was told by its router or its operator. Where others see the peer
at several, its router maps another port for each destination: none of those is right for this node, so they come last.

Both ends have to try at about the same time if both are behind NAT or a stateful firewall: a packet opens it for the
answers, for 30 s with Linux. `MOST_AT_A_TIME` endpoints take no longer, with a second each until a failure is seen.
Of more, the first `HEAD` are tried in each period of the wall clock, which begins for both ends at the same time, and
others in turn. So both ends are at their likely ones in each period, whatever the lengths of their lists.
"""

import enum
from collections import Counter
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface, ip_address, ip_interface, ip_network

import attrs

from nodespan.controllers.common.ip.blocks import IPSet

MOST_AT_A_TIME = 4
HEAD = 2
# In seconds of the wall clock.
PERIOD = 30.0

_PRIVATE = IPSet.of(map(ip_network, ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")))
_Address = IPv4Address | IPv6Address


class _Likelihood(enum.IntEnum):
    NEAR = 0
    PUBLIC = 1
    ELSEWHERE = 2
    RELAYED = 3
    NEVER_RIGHT = 4


@attrs.frozen
class RelayPorts:
    """Where a relay has addresses for nodes."""

    addresses: frozenset[str]
    ports: tuple[int, ...]

    def has(self, address: str, port: int) -> bool:
        """Whether an endpoint is one of them."""
        return address in self.addresses and len(self.ports) == 2 and self.ports[0] <= port <= self.ports[1]


@attrs.frozen
class Whereabouts:
    """Where this node is: the networks that it is on, its public address, and the relays that it knows."""

    networks: IPSet = attrs.field(factory=IPSet)
    public: str = ""
    relays: tuple[RelayPorts, ...] = ()


def networks_of(addresses: Iterable[str]) -> IPSet:
    """The networks that a node with these addresses (CIDRs) is on."""
    interfaces: list[IPv4Interface | IPv6Interface] = [ip_interface(address) for address in addresses]
    return IPSet.of(each.network for each in interfaces if each.network.prefixlen < each.max_prefixlen)


def ordered(endpoints: tuple[str, ...], here: Whereabouts) -> tuple[str, ...]:
    """The endpoints of a peer, `address:port`, all of them valid, in the order of their likelihood."""
    if len(endpoints) < 2 or here == Whereabouts():
        return endpoints
    parsed = {endpoint: split(endpoint) for endpoint in endpoints}
    relayed = {
        endpoint
        for endpoint, (address, port) in parsed.items()
        if any(relay.has(str(address), port) for relay in here.relays)
    }
    public: list[tuple[str, _Address]] = [
        (endpoint, address)
        for endpoint, (address, _) in parsed.items()
        if endpoint not in relayed and address.version == 4 and not is_private(address)
    ]
    places = Counter(address for _, address in public)
    # One of IPv6 says nothing of the NAT that this node is behind.
    own = ip_address(here.public) if here.public else None
    is_known = own is not None and own.version == 4 and not is_private(own)
    is_elsewhere = is_known and bool(public) and all(str(address) != here.public for address in places)
    seen = _seen_by_others(public, places)
    listened = {port for endpoint, (address, port) in parsed.items() if endpoint not in relayed and is_private(address)}

    def likelihood(endpoint: str) -> _Likelihood:
        address, _ = parsed[endpoint]
        if endpoint in relayed:
            return _Likelihood.RELAYED
        if here.networks.has(address.version, int(address)):
            return _Likelihood.NEAR
        if is_private(address):
            return _Likelihood.ELSEWHERE if is_elsewhere else _Likelihood.NEAR
        return _Likelihood.NEVER_RIGHT if endpoint in seen and places[address] > 2 else _Likelihood.PUBLIC

    def is_guess(endpoint: str) -> bool:
        address, port = parsed[endpoint]
        return places[address] == 2 and endpoint not in seen and port in listened

    return tuple(sorted(endpoints, key=lambda each: (likelihood(each), likelihood(each) == 1 and is_guess(each))))


def ordered_without_relays(endpoints: tuple[str, ...], here: Whereabouts) -> tuple[str, ...]:
    """The order while this node's relays have not said where their addresses are, perhaps for as long as they are down.

    What may be at one stays last, as announced: it is as public as others. At none are the private endpoints, nor those
    with their port, which the peer itself listens on.
    """
    listened = {port for address, port in map(split, endpoints) if is_private(address)}
    own = tuple(each for each in endpoints if split(each)[1] in listened or is_private(split(each)[0]))
    return (*ordered(own, here), *(each for each in endpoints if each not in own))


def _seen_by_others(public: list[tuple[str, _Address]], places: Counter[_Address]) -> set[str]:
    """Those after the first at the same address: a node announces one, unless its operator says otherwise."""
    seen, known = set(), set()
    for endpoint, address in public:
        if address in known and places[address] > 1:
            seen.add(endpoint)
        known.add(address)
    return seen


def due(endpoints: tuple[str, ...], wall: float) -> tuple[str, ...]:
    """Those of a peer's endpoints that are tried in this period of the wall clock."""
    if len(endpoints) <= MOST_AT_A_TIME:
        return endpoints
    others, at_once = endpoints[HEAD:], MOST_AT_A_TIME - HEAD
    chunks = -(-len(others) // at_once)
    start = int(wall // PERIOD) % chunks * at_once
    return (*endpoints[:HEAD], *others[start : start + at_once])


def is_private(address: _Address) -> bool:
    """Whether an address is one of a network that is not reached from everywhere."""
    return _PRIVATE.has(address.version, int(address))


def split(endpoint: str) -> tuple[_Address, int]:
    """The address and the port of a valid endpoint."""
    host, _, port = endpoint.rpartition(":")
    return ip_address(host.strip("[]")), int(port)
