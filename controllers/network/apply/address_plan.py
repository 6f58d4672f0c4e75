"""Which addresses to add and remove, so that links have the desired ones and keep those that no spec names."""

from collections.abc import Mapping

import attrs

from nodespan.controllers.common.prior_state import address_slot
from nodespan.controllers.network.apply.owners import Claim, overruled
from nodespan.controllers.network.apply.plan import Plan, Step
from nodespan.controllers.network.apply.prior_objects import Taken
from nodespan.kernel.addresses import AddressKey
from nodespan.kernel.changes.address_changes import AddressToAdd, seconds_left
from nodespan.kernel.link_lookup import LinkLookup
from nodespan.kernel.links import KernelLink
from nodespan.kernel.prefixes import parse_address
from nodespan.resources.network import (
    MANAGED_ADDRESS_FLAGS,
    AddressFlags,
    AddressSpecSpec,
    AddressStatusSpec,
    Family,
)

# As numbers: combining flags makes an object each time.
_MANAGED, _PERMANENT = int(MANAGED_ADDRESS_FLAGS), int(AddressFlags.PERMANENT)
_NOT_OF_THE_ADDRESS = frozenset({"address", "link_name", "layer", "announce_with_arp"})

AddressPlan = Plan[AddressToAdd, AddressStatusSpec]
AddressStep = Step[AddressToAdd, AddressStatusSpec]
Addresses = Mapping[AddressKey, tuple[AddressStatusSpec, ...]]


@attrs.frozen(kw_only=True)
class Fence:
    """What counts for fenced addresses: the time, and up to when each one was last given to the kernel."""

    now: float
    given_until: Mapping[AddressKey, float] = attrs.field(factory=dict)


def is_as_desired(seen: AddressStatusSpec, spec: AddressSpecSpec) -> bool:
    """Whether the kernel's address agrees with the spec in all that a spec decides, but for how long it is there."""
    # An address without a lifetime is permanent whether or not that was said.
    permanent = 0 if spec.valid_until else _PERMANENT
    desired = (int(spec.flags) & ~_PERMANENT | permanent) & _MANAGED
    return (seen.scope, int(seen.flags) & _MANAGED, seen.priority) == (spec.scope, desired, spec.priority)


def find(spec: AddressSpecSpec, link_index: int, addresses: Addresses) -> AddressStatusSpec | None:
    """The kernel's address that the spec is about: same link, address and prefix length."""
    prefix = parse_address(spec.address)
    own = prefix.text.partition("/")[0]
    for seen in addresses.get(AddressKey(link_index, prefix.text), ()):
        # On a point-to-point link an address may be that of the far end.
        if seen.local in ("", own):
            return seen
    return None


def taken_address(spec: AddressSpecSpec, lookup: LinkLookup, addresses: Addresses) -> Taken[AddressStatusSpec] | None:
    """The slot of a spec, and the address in it."""
    link = lookup.find(spec.link_name)
    if link is None:
        return None
    try:
        seen = find(spec, link.status.index, addresses)
        text = parse_address(spec.address).text
    except ValueError:
        return None
    return Taken(address_slot(link.status.index, text), () if seen is None else (seen,))


def loss(seen: AddressStatusSpec, addresses: Addresses) -> int:
    """The link whose addresses or routes of others may go when this one is removed, 0 for none.

    An IPv4 address goes with the further ones of its network, and the last one of a link with all its routes.
    """
    if seen.family != Family.INET4 or AddressFlags.TEMPORARY in seen.flags:
        return 0
    if seen.address.endswith("/32") and any(
        key.link_index == seen.link_index and key.address != seen.address and ":" not in key.address
        for key in addresses
    ):
        return 0
    return seen.link_index


def plan_addresses(
    desired: Mapping[str, AddressSpecSpec],
    leaving: Mapping[str, AddressSpecSpec],
    links: Mapping[int, KernelLink],
    addresses: Addresses,
    fence: Fence,
) -> AddressPlan:
    """The steps from what the kernel has to what is desired, by the ids of the specs."""
    lookup = LinkLookup(links)
    kept: set[AddressKey] = set()
    steps: list[AddressStep] = []
    waiting: dict[str, str] = {}
    refused: dict[str, str] = {}
    claims: list[Claim[AddressSpecSpec, AddressKey]] = []
    for id, spec in desired.items():
        try:
            prefix = parse_address(spec.address)
        except ValueError as error:
            refused[id] = f"{error}, write it like 10.0.0.5/24"
            continue
        link = lookup.find(spec.link_name)
        if link is None:
            waiting[id] = f"there is no link {spec.link_name}"
            continue
        key = AddressKey(link.status.index, prefix.text)
        kept.add(key)
        claims.append(Claim(id=id, spec=spec, object=key, link_name=spec.link_name, link=link.name))
    others = overruled(claims, leave_out=_NOT_OF_THE_ADDRESS)
    refused |= {id: text for id, text in others.items() if text}
    for claim in (each for each in claims if each.id not in others):
        id, spec, key = claim.id, claim.spec, claim.object
        seen = find(spec, key.link_index, addresses)
        add = AddressToAdd(spec=spec, link_index=key.link_index)
        if not spec.valid_until:
            if seen is None or not is_as_desired(seen, spec):
                steps.append(Step(id=id, remove=() if seen is None else (seen,), add=add))
        elif seen is not None and is_of_others(seen):
            refused[id] = f"{claim.link} has {key.address} permanently already: another program gave it that address"
        elif fence.now >= spec.valid_until:
            waiting[id] = "the time to have it is over"
            if seen is not None:
                steps.append(Step(id=id, remove=(seen,)))
        elif not seconds_left(spec.valid_until, fence.now):
            waiting[id] = "the time to have it is as good as over"
        elif seen is None or not is_as_desired(seen, spec):
            steps.append(Step(id=id, remove=() if seen is None else (seen,), add=add))
        elif fence.given_until.get(key) != spec.valid_until:
            steps.append(Step(id=id, add=attrs.evolve(add, renews=True)))
    for id, spec in leaving.items():
        link = lookup.find(spec.link_name)
        gone = _leaving(spec, link, addresses)
        if link is not None and gone is not None and AddressKey(link.status.index, gone.address) not in kept:
            steps.insert(0, Step(id=id, remove=(gone,)))
    return Plan(steps=tuple(steps), waiting=waiting, refused=refused)


def is_of_others(seen: AddressStatusSpec) -> bool:
    """Whether another program made an address that is desired as a fenced one: fenced ones are not permanent."""
    return AddressFlags.PERMANENT in seen.flags


def _leaving(spec: AddressSpecSpec, link: KernelLink | None, addresses: Addresses) -> AddressStatusSpec | None:
    try:
        seen = None if link is None else find(spec, link.status.index, addresses)
    except ValueError:
        # Never was an address, so it is not there.
        return None
    return None if seen is not None and spec.valid_until and is_of_others(seen) else seen
