"""What of a member's announcements is believed: pure rules.

A holder of the cluster's secret is a member, and its announcements direct packets: to its addresses, networks and
endpoints.
That is as in the original; what a member may do to others is in docs/kubespan.md. Stricter here:

- No peer is reached at addresses that mean something else on every machine (loopback, link-local, multicast and the
  like): they are no part of a claim, and no endpoints. Neither is a port 0.
- Networks that are as good as a default route (wider than /8 of IPv4, /16 of IPv6, also when put together of smaller
  ones) are not led into the tunnel unless the configuration accepts them.
- What this node needs in order to have a network at all, its gateways and its resolvers, is reached outside of the
  tunnel, no matter who announces it.
- A list is cut at a length that no honest node reaches.
"""

import itertools
from collections.abc import Iterable, Sequence
from ipaddress import ip_network

from nodespan.controllers.common.endpoint_filter import filter_endpoints
from nodespan.controllers.common.ip.blocks import IPSet
from nodespan.resources.addresses import AddressError, decode_address, format_address, parse_address, split_endpoint

# So many endpoints, and so many addresses and networks, of one member are looked at.
MOST_ENDPOINTS = 64
MOST_NETWORKS = 1024

# RFC 6890: what is nowhere else than on this machine or this wire, or is no host.
RESERVED = IPSet.of(
    map(
        ip_network,
        (
            *("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4"),
            *("::/127", "::ffff:0:0/96", "fe80::/10", "ff00::/8"),
        ),
    )
)
_WIDEST = {4: 8, 6: 16}
# By the size of an address in bytes.
_VERSIONS = {4: 4, 16: 6}
NOTHING = IPSet()


def believed_networks(named: Iterable[str], accepted: IPSet = NOTHING) -> IPSet:
    """The addresses that a member may claim, of those that it names. Raises ValueError for an invalid address."""
    claimed = IPSet.parse(itertools.islice(named, MOST_NETWORKS))
    if any(length < _WIDEST[version] for version, _, length in claimed.blocks()):
        wide = IPSet.of(each for each in claimed.prefixes() if each.prefixlen < _WIDEST[each.version])
        claimed -= wide - accepted
    return claimed - RESERVED


def believed_endpoints(endpoints: Iterable[str], filters: Sequence[str] | None = None) -> tuple[str, ...]:
    """The endpoints to try, in the order of the member's or that of the filter, where there is one."""
    believed: dict[str, bytes] = {}
    for endpoint in itertools.islice(dict.fromkeys(endpoints), MOST_ENDPOINTS):
        try:
            packed, port = split_endpoint(endpoint)
        except AddressError:
            continue
        # Neither with a zone, which is longer.
        version = _VERSIONS.get(len(packed))
        if port and version and not RESERVED.has(version, int.from_bytes(packed)):
            believed[endpoint] = packed
    if filters is None:
        return tuple(believed)
    addresses = {endpoint: decode_address(packed) for endpoint, packed in believed.items()}
    place = {address: number for number, address in enumerate(filter_endpoints(tuple(addresses.values()), filters))}
    kept = [endpoint for endpoint, address in addresses.items() if address in place]
    return tuple(sorted(kept, key=lambda endpoint: place[addresses[endpoint]]))


def outside(prefixes: Iterable[str], needed: Iterable[str], accepted: IPSet = NOTHING) -> tuple[str, ...]:
    """What of a peer's prefixes is led into the tunnel: not what this node needs for its network."""
    prefixes = tuple(prefixes)
    kept = IPSet.parse(needed) - accepted
    if not kept or not (named := IPSet.parse(prefixes)).overlaps(kept):
        return prefixes
    return (named - kept).texts()


def needed_addresses(gateways: Iterable[str], resolvers: Iterable[str]) -> frozenset[str]:
    """The addresses of gateways and resolvers, without what is no address."""
    found = set()
    for text in (*gateways, *resolvers):
        try:
            found.add(format_address(parse_address(text.partition("%")[0])))
        except AddressError:
            continue
    return frozenset(found)
