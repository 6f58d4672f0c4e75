"""Where the address at a relay comes in the order of a peer's endpoints, if this node has a relay too. Pure rules.

A relay works wherever both ends reach it, and a pair that is on it looks for a direct path (`direct_path`), so such a
pair need not wait until all other endpoints have failed. Those are in the order of their likelihood (`endpoint_order`):

    the first endpoint                  for most pairs it works, and then nothing goes over the relay
    the peer's address at a relay       the first one: all of them are reached by the same stream
    all others                          those of a family of which this node has no address being the last

The relay is the very first for a pair that is behind NAT at both ends, where the first endpoint does not work before
both have sent something, and where only an endpoint of a foreign family comes before it. An endpoint that was the first
before stays the first, for it is being tried.
"""

from collections.abc import Iterable
from itertools import takewhile
from typing import Self

import attrs

from nodespan.controllers.kubespan.addressing import Purpose, has_purpose
from nodespan.controllers.kubespan.endpoint_order import is_private, split
from nodespan.controllers.kubespan.known_relays import KnownRelays
from nodespan.resources.addresses import IPAddress, parse_address


@attrs.frozen
class Reach:
    """How this node reaches others: the families (4 and 6) of its addresses, and whether one of them is public."""

    families: frozenset[int] = frozenset()
    is_public: bool = True

    @classmethod
    def of(cls, addresses: Iterable[str]) -> Self:
        """That of a node with these addresses (CIDRs); unknown without any. Raises AddressError."""
        found = [parse_address(text.partition("/")[0]) for text in addresses]
        # The mesh's own is reached only through it.
        own = [each for each in found if not (_is_narrow(each) or has_purpose(each, Purpose.KUBESPAN))]
        return cls(frozenset(each.version for each in own), not own or not all(map(is_private, own)))

    def has_family_of(self, endpoint: str) -> bool:
        """Whether this node has an address of an endpoint's family, or none is known of it."""
        return not self.families or split(endpoint)[0].version in self.families

    def unreached_before(self, endpoints: tuple[str, ...]) -> tuple[str, ...]:
        """The endpoints before the first of a family that this node has an address of."""
        return tuple(takewhile(lambda endpoint: not self.has_family_of(endpoint), endpoints))


def with_relay(endpoints: tuple[str, ...], relays: KnownRelays, here: Reach, first_before: str = "") -> tuple[str, ...]:
    """The endpoints of a peer as they are to be tried; `first_before` is what was the first, "" for a new peer."""
    endpoints = tuple(sorted(endpoints, key=lambda endpoint: not here.has_family_of(endpoint)))
    relayed = next((each for each in endpoints if relays.have(each)), None)
    if relayed is None:
        return endpoints
    others = [each for each in endpoints if each != relayed]
    first = first_before if first_before in others else ""
    if not first and first_before != relayed and others and _may_be_first(others, here):
        first = others[0]
    return tuple(dict.fromkeys((*((first,) if first else ()), relayed, *others)))


def _may_be_first(others: list[str], here: Reach) -> bool:
    if not here.has_family_of(others[0]):
        return False
    return here.is_public or not any(is_private(split(each)[0]) for each in others)


def _is_narrow(address: IPAddress) -> bool:
    return address.is_link_local or address.is_loopback
