"""What the plan and the worker of links both look at: specs, links, and what is known of earlier changes.

A worker gets a copy, changes it as it goes, and returns it.
"""

from collections.abc import Collection, Mapping

import attrs

from nodespan.controllers.network.apply.link_originals import LinkOriginals, decided, restoration
from nodespan.controllers.network.apply.link_plan import find
from nodespan.kernel.link_changes import LinkChange
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
        )


@attrs.define
class LinkState:
    """The desired specs, the links of the kernel, and what is known of earlier changes."""

    desired: Mapping[str, LinkSpecSpec]
    originals: LinkOriginals
    links: LinkTable = attrs.field(factory=LinkTable)
    memory: LinkMemory = attrs.field(factory=LinkMemory)
    # Which specs say that they are members of which masters.
    members: dict[str, set[str]] = attrs.field(factory=dict)

    def copy(self) -> "LinkState":
        """The same, apart: for a worker thread."""
        return LinkState(
            desired=dict(self.desired),
            originals=self.originals.copy(),
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
        ours = self.memory.mastered.get(name)
        master = self.links.get(link.status.master_index)
        if ours is not None and master is not None and master.name == ours:
            return LinkChange(index=link.status.index, master=0)
        return restoration(self.originals.get(name), link)

    def no_longer_said(self, spec: LinkSpecSpec, link: KernelLink) -> LinkChange | None:
        """What a spec has no say in any more, and is still as an earlier one desired it."""
        return None if spec.logical else restoration(self.originals.get(spec.name), link, decided(spec))


def device_of(settings: WireguardSpec, link: KernelLink) -> Device:
    """A device that is set up like this."""
    return Device(link.status.index, attrs.evolve(settings, peers=()))
