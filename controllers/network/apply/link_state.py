"""What the plan and the worker of links both look at: specs, links, and what is known of earlier changes.

A worker gets a copy, changes it as it goes, and returns it.
"""

from collections.abc import Collection, Mapping

import attrs

from nodespan.controllers.common.prior_state import PriorState, link_slot
from nodespan.controllers.network.apply.link_originals import LinkOriginals, decided, restoration
from nodespan.controllers.network.apply.link_plan import Existence, Refuse, Remove, existence, find
from nodespan.controllers.network.apply.link_prior import PriorLink, from_plain
from nodespan.kernel.changes.link_changes import LinkChange
from nodespan.kernel.link_lookup import LinkLookup, LinkTable
from nodespan.kernel.links import KernelLink
from nodespan.resources.network import LinkSpecSpec, WireguardSpec


@attrs.frozen
class Device:
    """A WireGuard device as it was last set up: the link, and the settings without peers."""

    index: int
    settings: WireguardSpec


@attrs.define
class LinkMemory:
    """What the controller knows of its own doing. Nothing in it is needed: a new process learns it again."""

    # Of which kind the links are that it made or took over, and into which masters it put links.
    made: dict[str, str] = attrs.field(factory=dict)
    mastered: dict[str, str] = attrs.field(factory=dict)
    # The hardware addresses of masters, which the kernel changes when their last member goes.
    addresses: dict[str, str] = attrs.field(factory=dict)
    devices: dict[str, Device] = attrs.field(factory=dict)
    # Links that look like desired ones and belong to another program after all.
    foreign: set[str] = attrs.field(factory=set)
    # How often something was removed or set down here, which may take other links with it.
    disruptions: int = 0

    def forget(self, name: str) -> None:
        """Forget what was known of a link."""
        for known in (self.made, self.mastered, self.addresses, self.devices):
            known.pop(name, None)
        self.foreign.discard(name)

    def copy(self) -> "LinkMemory":
        """The same, apart."""
        return LinkMemory(
            made=dict(self.made),
            mastered=dict(self.mastered),
            addresses=dict(self.addresses),
            devices=dict(self.devices),
            foreign=set(self.foreign),
            disruptions=self.disruptions,
        )


@attrs.define
class LinkState:
    """The desired specs, the links of the kernel, and what is known of earlier changes."""

    desired: Mapping[str, LinkSpecSpec]
    originals: LinkOriginals
    # The record that survives the process; shared, for it is thread-safe.
    prior: PriorState = attrs.field(factory=lambda: PriorState(None))
    links: LinkTable = attrs.field(factory=LinkTable)
    memory: LinkMemory = attrs.field(factory=LinkMemory)
    # Which specs say that they are members of which masters.
    members: dict[str, set[str]] = attrs.field(factory=dict)

    def copy(self) -> "LinkState":
        """The same, apart: for a worker thread."""
        return LinkState(
            desired=dict(self.desired),
            originals=self.originals.copy(),
            prior=self.prior,
            links=self.links.copy(),
            memory=self.memory.copy(),
            members={name: set(members) for name, members in self.members.items()},
        )

    def deciding(self, spec: LinkSpecSpec) -> Collection[str]:
        """The masters that a link is released from if its spec does not name them."""
        ours = {self.memory.mastered.get(spec.name, "")}
        link = find(spec, LinkLookup(self.links))
        current = self.links.get(link.status.master_index) if link is not None else None
        if current is not None and current.name in self.desired and self.desired[current.name].logical:
            ours.add(current.name)
        return ours

    def heir(self, name: str, link: KernelLink, lookup: LinkLookup) -> str | None:
        """Another name by which a link is still desired, as when it was known by its alias first; None if it is not."""
        for other in (link.name, link.status.alias, *link.status.alt_names):
            if other != name and other in self.desired and find(self.desired[other], lookup) is link:
                return other
        return None

    def undoing(self, name: str, link: KernelLink) -> LinkChange | None:
        """What to do so that a link that nothing names any more becomes as it was, None if it is."""
        ours = self.master_given(name, link)
        master = self.links.get(link.status.master_index)
        if ours is not None and master is not None and master.name == ours:
            return LinkChange(index=link.status.index, master=self.master_before(link))
        return restoration(self.originals.get(name), link)

    def master_before(self, link: KernelLink) -> int:
        """The master that a link was taken from, 0 if there was none or it is gone."""
        known = self.prior.journal.get(_master_slot(link))
        return known["before"] if known is not None and known["before"] in self.links else 0

    def master_given(self, name: str, link: KernelLink) -> str | None:
        """The master that the agent gave a link, also if that was an earlier agent."""
        known = self.prior.journal.get(_master_slot(link))
        return self.memory.mastered.get(name) or (None if known is None else known["given"])

    def note_master(self, spec: LinkSpecSpec, link: KernelLink) -> None:
        """Put on record which master a link is about to get, and from which it is taken. Raises OSError."""
        slot, given = _master_slot(link), spec.master
        known = self.prior.journal.get(slot)
        if known is not None:
            known = {**known, "given": given}
        elif given and not spec.logical:
            known = {"before": link.status.master_index, "given": given}
        self.prior.journal.change({slot: known if given else None})

    def forget_master(self, link: KernelLink) -> None:
        """The link has the master that it had before. Raises OSError."""
        self.prior.journal.change({_master_slot(link): None})

    def prior_link(self, name: str) -> PriorLink | None:
        """What is on record of a link of this name, None as long as the agent has not taken it."""
        plain = self.prior.journal.get(link_slot(name))
        return None if plain is None else from_plain(plain)

    def existence(self, spec: LinkSpecSpec, lookup: LinkLookup) -> Existence:
        """As the rule of the same name, but what others made is not removed to be made in another way."""
        found = existence(spec, lookup, self.memory.made)
        if not isinstance(found, Remove):
            return found
        prior = self.prior_link(spec.name)
        if not self.prior.journal.is_durable or (prior is not None and prior.index != found.index):
            return found
        return Refuse(
            f"there is a {spec.kind} link {spec.name} already, which was there before and is made in another way: "
            "remove it, or give the configured link another name"
        )

    def no_longer_said(self, spec: LinkSpecSpec, link: KernelLink) -> LinkChange | None:
        """What a spec has no say in any more, and is still as an earlier one desired it."""
        return None if spec.logical else restoration(self.originals.get(spec.name), link, decided(spec))


def _master_slot(link: KernelLink) -> str:
    return f"master/{link.status.index}"


def device_of(settings: WireguardSpec, link: KernelLink) -> Device:
    """A device that is set up like this."""
    return Device(link.status.index, attrs.evolve(settings, peers=()))
