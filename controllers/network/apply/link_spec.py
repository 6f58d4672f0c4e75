"""network.LinkSpecController: makes, sets up and removes links as they are wanted.

A round decides, on a mirror of the kernel, which of the specs that something changed for differ; a worker thread goes
through these in order and takes one step at a time, each decided on what the kernel has then. A spec that fails does
not stop the others.

A bond or bridge of the wanted name is taken over, whoever made it: the bonding driver makes a `bond0` of its own.

WireGuard: the kernel's, or wireguard-go where the kernel has none. Here its key, port and mark are set; peers are the
business of the WireguardPeerController. The kernel does not tell of changes to these, so they are looked at when the
link or the spec is new, and every now and then; and whoever shows links is asked to look again.
"""

import errno
import struct
from collections.abc import AsyncIterator, Collection, Hashable, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import trio

from nodespan.controllers.common.link_refresh import ask_for_refresh
from nodespan.controllers.network.apply import bond_plan
from nodespan.controllers.network.apply.interests import NotedLinks
from nodespan.controllers.network.apply.link_originals import (
    LinkOriginals,
    changed,
    decided,
    forgotten,
    inherited,
    restoration,
)
from nodespan.controllers.network.apply.link_plan import (
    Create,
    Refuse,
    Remove,
    Wait,
    adjustment,
    complaint,
    existence,
    find,
    in_order,
    in_words,
    master_name,
)
from nodespan.controllers.network.apply.master_address import KINDS as KINDS_WITH_ADDRESS
from nodespan.controllers.network.apply.master_address import first_member_address
from nodespan.controllers.network.apply.spec_applier import Judgement, LinkFollower, SpecApplier
from nodespan.kernel.bonding import load_bonding
from nodespan.kernel.link_changes import LinkChange, change_link, create_link, delete_link
from nodespan.kernel.link_lookup import LinkLookup, LinkTable
from nodespan.kernel.links import KernelLink, PlainLinks, is_of_kind, list_links, read_link
from nodespan.kernel.reverse_path import loosen_reverse_path
from nodespan.kernel.rtnetlink import Kernel
from nodespan.kernel.wireguard import backend_for, daemon
from nodespan.kernel.wireguard.device import device_difference
from nodespan.kernel.wireguard.keys import parse_given_key
from nodespan.kernel.wireguard.uapi import UserspaceWireguard
from nodespan.resources.network import LinkFlags, LinkRefresh, LinkSpec, LinkSpecSpec, NetworkProblem, WireguardSpec
from nodespan.runtime.controller import QueueContext, shared

# More steps than any link takes.
_STEPS = 12


@attrs.frozen
class _Device:
    """A WireGuard device as it was last set up: the link, and the settings without peers."""

    index: int
    settings: WireguardSpec


@attrs.define
class _Memory:
    """What the controller knows of its own doing. Nothing in it is needed: a new process learns it anew."""

    # Of which kind the links are that it made or took over, and into which masters it put links.
    made: dict[str, str] = attrs.field(factory=dict)
    mastered: dict[str, str] = attrs.field(factory=dict)
    # The hardware addresses of masters, which the kernel changes when their last member goes.
    addresses: dict[str, str] = attrs.field(factory=dict)
    devices: dict[str, _Device] = attrs.field(factory=dict)
    # Links that look like wanted ones and are somebody else's after all.
    foreign: set[str] = attrs.field(factory=set)

    def forget(self, name: str) -> None:
        for known in (self.made, self.mastered, self.addresses, self.devices):
            known.pop(name, None)
        self.foreign.discard(name)


class LinkSpecController(SpecApplier[LinkSpecSpec, LinkSpecSpec]):
    """Links that no spec names are never touched, and are made again as they were when none names them any more.

    `record` is the file in which it is kept how links were; without one, only this process knows.
    """

    name = "network.LinkSpecController"
    type = LinkSpec

    _follower: LinkFollower

    def __init__(self, *, netns: str | None = None, record: Path | None = None) -> None:
        super().__init__(netns=netns)
        self.outputs = (shared(NetworkProblem), shared(LinkRefresh))
        self._memory = _Memory()
        self._originals = LinkOriginals(record)
        # Which specs say that they are members of which masters, both ways.
        self._members: dict[str, set[str]] = {}
        self._master_of: dict[str, str] = {}
        # What the last work touched.
        self._changed: set[int] = set()
        self._refresh = False

    # What the common part asks for.

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """A mirror of the links."""
        await trio.to_thread.run_sync(self._originals.load)
        async with self.mirror(PlainLinks()) as links:
            self._links = LinkTable()
            self._follower = LinkFollower(links, self._links)
            yield

    async def kernel_news(self, *, for_work: bool) -> set[Hashable]:  # noqa: ARG002
        """The links that changed."""
        return await self._follower.take()

    def everything(self) -> None:
        """Look at WireGuard devices anew, too."""
        self._memory.devices.clear()

    def spec_changed(self, id: str) -> None:
        """Keep who is a member of what."""
        before = self._master_of.pop(id, "")
        if before:
            self._members[before].discard(id)
        spec = self._wanted.get(id)
        after = master_name(spec) if spec is not None else ""
        if after:
            self._master_of[id] = after
            self._members.setdefault(after, set()).add(id)

    def forget(self, id: str) -> None:
        """Forget what was known of a link."""
        self._memory.forget(id)
        self._members.pop(id, None)

    def judge(self, ids: Iterable[str]) -> dict[str, Judgement[LinkSpecSpec]]:
        """Whether links are as they are wanted."""
        judged: dict[str, Judgement[LinkSpecSpec]] = {}
        for id in ids:
            noted: set[Hashable] = set()
            lookup = LinkLookup(NotedLinks(self._links, noted))
            if id in self._wanted:
                try:
                    judged[id] = self._judge_wanted(self._wanted[id], lookup)
                except ValueError as error:
                    judged[id] = Judgement(refused=str(error))
            else:
                judged[id] = self._judge_leaving(self._leaving[id], lookup)
            self._interests.note(id, noted)
        return judged

    def _judge_leaving(self, spec: LinkSpecSpec, lookup: LinkLookup) -> Judgement[LinkSpecSpec]:
        """Only what was made is removed; a link that the agent did not make becomes again as it was."""
        if not spec.logical:
            found = find(spec, lookup)
            if found is None:
                return Judgement()
            if self._heir(spec.name, found, lookup) is not None:
                return Judgement() if self._originals.get(spec.name) is None else Judgement(job=spec)
            if self._undoing(spec.name, found) is None:
                return Judgement()
            return Judgement(job=spec, instead="it is changed again")
        link = lookup.real(spec.name)
        if link is None or not is_of_kind(link, spec.kind) or spec.name in self._memory.foreign:
            return Judgement()
        return Judgement(job=spec, instead="it is there again")

    def _judge_wanted(self, spec: LinkSpecSpec, lookup: LinkLookup) -> Judgement[LinkSpecSpec]:
        memory = self._memory
        if spec.bond_master is not None:
            bond_plan.filled(spec.bond_master)
        if spec.wireguard is not None and spec.wireguard.private_key:
            _check_private_key(spec.wireguard.private_key)
        match existence(spec, lookup, memory.made):
            case Create():
                return Judgement(job=spec, instead="it is gone again")
            case Remove():
                return Judgement(job=spec, instead="it is made anew in another way")
            case Wait(reason):
                return Judgement(waiting=reason)
            case Refuse(reason):
                return Judgement(refused=reason)
        link = find(spec, lookup)
        if link is None:
            return Judgement()
        said: list[str] = []
        if spec.bond_master is not None:
            options = bond_plan.changes(spec.bond_master, link, lookup)
            if options:
                said.append(bond_plan.in_words(options, link.status.bond_master))
        change = adjustment(spec, link, lookup, self._deciding(spec)) or self._no_longer_said(spec, link)
        if change is not None:
            said.append(in_words(change, link, lookup))
        if spec.wireguard is not None and memory.devices.get(spec.name) != _device(spec.wireguard, link):
            said.append("its WireGuard settings")
        if said:
            return Judgement(job=spec, instead=", ".join(said))
        warning = "" if spec.bond_master is None else bond_plan.blindness(spec.name, spec.bond_master)
        self._remember_address(spec, link)
        return Judgement(refused=complaint(spec, link, lookup), warning=warning)

    def _deciding(self, spec: LinkSpecSpec) -> Collection[str]:
        """The masters that a link is released from if its spec does not name them."""
        ours = {self._memory.mastered.get(spec.name, "")}
        link = find(spec, LinkLookup(self._links))
        current = self._links.get(link.status.master_index) if link is not None else None
        if current is not None and current.name in self._wanted and self._wanted[current.name].logical:
            ours.add(current.name)
        return ours

    def _remember_address(self, spec: LinkSpecSpec, link: KernelLink) -> None:
        if spec.kind in KINDS_WITH_ADDRESS and self._links.members(link.status.index):
            self._memory.addresses[spec.name] = link.status.hardware_addr

    async def after_work(self, ctx: QueueContext) -> None:
        """Look at links that are down, for the kernel does not tell all that changes of them."""
        changed, self._changed = self._changed, set()
        await self._follower.look_if_down(changed, self._netns)
        if self._refresh:
            self._refresh = False
            await ask_for_refresh(ctx)

    # In a worker thread.

    def work(self, jobs: Mapping[str, LinkSpecSpec]) -> Mapping[str, OSError]:
        """Take links away and bring them about."""
        failed: dict[str, OSError] = {}
        leaving = [spec for id, spec in jobs.items() if id not in self._wanted]
        wanted = in_order(spec for id, spec in jobs.items() if id in self._wanted)
        with self.kernel() as kernel:
            for spec in leaving:
                try:
                    self._take_away(kernel, spec)
                except OSError as error:
                    failed[spec.name] = error
            for spec in wanted:
                try:
                    self._bring_about(kernel, spec)
                except OSError as error:
                    failed[spec.name] = error
                except (ValueError, struct.error) as error:
                    # A setting that does not fit into a message, which no check of a configuration lets through.
                    failed[spec.name] = OSError(errno.EINVAL, str(error))
        return failed

    def _take_away(self, kernel: Kernel, spec: LinkSpecSpec) -> None:
        if not spec.logical:
            self._give_back(kernel, spec)
            return
        link = self._links.real(spec.name)
        if link is None:
            return
        if self._is_foreign(spec, link):
            self._memory.foreign.add(spec.name)
        else:
            self._remove(kernel, link.status.index)

    def _heir(self, name: str, link: KernelLink, lookup: LinkLookup) -> str | None:
        """Another name by which a link is wanted still, as when it was known by its alias first; None if it is not."""
        for other in (link.name, link.status.alias, *link.status.alt_names):
            if other != name and other in self._wanted and find(self._wanted[other], lookup) is link:
                return other
        return None

    def _undoing(self, name: str, link: KernelLink) -> LinkChange | None:
        """What to do so that a link that nothing names any more becomes as it was, None if it is."""
        ours = self._memory.mastered.get(name)
        master = self._links.get(link.status.master_index)
        if ours is not None and master is not None and master.name == ours:
            return LinkChange(index=link.status.index, master=0)
        return restoration(self._originals.get(name), link)

    def _no_longer_said(self, spec: LinkSpecSpec, link: KernelLink) -> LinkChange | None:
        """What a spec has no say in any more, and is still as an earlier one wanted it."""
        return None if spec.logical else restoration(self._originals.get(spec.name), link, decided(spec))

    def _give_back(self, kernel: Kernel, spec: LinkSpecSpec) -> None:
        """Make a link that was there before be as it was, unless it is wanted by another name. Raises OSError."""
        for _ in range(_STEPS):
            lookup = LinkLookup(self._links)
            link = find(spec, lookup)
            heir = None if link is None else self._heir(spec.name, link, lookup)
            if heir is not None:
                self._originals.set(heir, inherited(self._originals.get(heir), self._originals.get(spec.name)))
                break
            change = None if link is None else self._undoing(spec.name, link)
            if link is None or change is None:
                break
            self._change(kernel, change)
            self._reread(kernel, link.status.index)
            if change.master is not None:
                self._memory.mastered.pop(spec.name, None)
        self._originals.set(spec.name, None)

    def _bring_about(self, kernel: Kernel, spec: LinkSpecSpec) -> None:
        """Take steps until there is nothing to do, or nothing that can be done now. Raises OSError."""
        relisted = False
        for _ in range(_STEPS):
            try:
                if not self._step(kernel, spec):
                    return
            except OSError as error:
                # What rests on a link vanishes with it: the list may be out of date.
                if error.errno != errno.ENODEV or relisted:
                    raise
                relisted = True
                self._relist(kernel)
        raise OSError(errno.EIO, "the kernel does not keep it as it is wanted")

    def _step(self, kernel: Kernel, spec: LinkSpecSpec) -> bool:
        """Take one step; returns whether there may be more."""
        lookup = LinkLookup(self._links)
        match existence(spec, lookup, self._memory.made):
            case Create(_, parent_index):
                self._create(kernel, spec, parent_index)
                return True
            case Remove(index):
                self._remove(kernel, index)
                self._relist(kernel)
                return True
            case Wait() | Refuse():
                return False
        link = find(spec, lookup)
        if link is None:
            return False
        if self._is_foreign(spec, link):
            raise FileExistsError(errno.EEXIST, f"there is a tun link {spec.name} that is no WireGuard device")
        self._memory.made[spec.name] = link.status.kind
        self._set_up_device(spec, link)
        if spec.bond_master is not None:
            members = self._links.members(link.status.index)
            if steps := bond_plan.steps(spec.bond_master, link, lookup, members):
                for step in steps:
                    self._change(kernel, step)
                return True
        change = adjustment(spec, link, lookup, self._deciding(spec))
        if change is None:
            undoing = self._no_longer_said(spec, link)
            if undoing is not None:
                self._change(kernel, undoing)
            self._originals.set(spec.name, forgotten(self._originals.get(spec.name), decided(spec)))
            return False
        if change.master:
            self._lend_address(kernel, change.master)
        if not spec.logical:
            # On record before it is done: a process may be killed in between.
            self._originals.set(spec.name, changed(self._originals.get(spec.name), link, change))
        self._change(kernel, change)
        if change.master is not None:
            self._note_master(spec)
            # What becomes of the master by that is told by the kernel.
            self._reread(kernel, change.master)
        # A link that was set down is so to join its master next.
        return change.master is not None or (change.up is not True and master_name(spec) != "")

    def _create(self, kernel: Kernel, spec: LinkSpecSpec, parent_index: int) -> None:
        lookup = LinkLookup(self._links)
        options: bond_plan.Options = ()
        if spec.bond_master is not None:
            load_bonding()
            options = bond_plan.creation(spec.bond_master, lookup)
        if spec.kind in KINDS_WITH_ADDRESS and not spec.hardware_addr:
            spec = attrs.evolve(spec, hardware_addr=self._address_of_master(spec.name, lookup))
        try:
            create_link(kernel, spec, parent_index, options)
        except FileExistsError:
            self._relist(kernel)
            return
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise
            if spec.kind != "wireguard":
                raise OSError(error.errno, f"this kernel makes no {spec.kind} links") from error
            daemon.start(spec.name, self._netns)
        message = kernel.link(name=spec.name)
        if message is not None:
            link = read_link(message)
            self._note(link.status.index, link)

    def _change(self, kernel: Kernel, change: LinkChange) -> None:
        """Change what can be changed; what the kernel refuses does not stop the rest of it. Raises OSError."""
        try:
            change_link(kernel, change)
        except OSError as error:
            parts = change.apart()
            if len(parts) == 1 or error.errno in (errno.ENODEV, errno.EPERM):
                raise
            refusals: list[OSError] = []
            for part in parts:
                try:
                    change_link(kernel, part)
                except OSError as refusal:
                    refusals.append(refusal)
            if refusals:
                raise refusals[0] from error
        finally:
            self._changed.add(change.index)
            # Nothing that is done next depends on whether a link without a master is up.
            if change != LinkChange(index=change.index, up=True):
                self._reread(kernel, change.index)

    def _remove(self, kernel: Kernel, index: int) -> None:
        try:
            delete_link(kernel, index)
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise
        self._note(index, None)

    def _lend_address(self, kernel: Kernel, index: int) -> None:
        """A master without members gets the address that it is to keep before it gets its first."""
        master = self._links.get(index)
        if master is None or master.status.kind not in KINDS_WITH_ADDRESS or self._links.members(index):
            return
        spec = self._wanted.get(master.name)
        if spec is None or spec.hardware_addr or not spec.logical:
            return
        address = self._address_of_master(spec.name, LinkLookup(self._links))
        if address and address != master.status.hardware_addr:
            # Set down meanwhile, for the link-local address is made of the hardware address when a link comes up.
            is_up = LinkFlags.UP in master.status.flags
            self._change(kernel, LinkChange(index=index, hardware_addr=address, up=False if is_up else None))
            if is_up:
                self._change(kernel, LinkChange(index=index, up=True))

    def _address_of_master(self, name: str, lookup: LinkLookup) -> str:
        known = self._memory.addresses.get(name)
        if known is None:
            known = first_member_address((self._wanted[id] for id in self._members.get(name, ())), lookup)
            if known:
                self._memory.addresses[name] = known
        return known

    def _relist(self, kernel: Kernel) -> None:
        now = list_links(kernel)
        for index in self._links.keys() - now.keys():
            self._note(index, None)
        for index, link in now.items():
            if self._links.get(index) != link:
                self._note(index, link)

    def _reread(self, kernel: Kernel, index: int) -> None:
        if index:
            message = kernel.link(index)
            self._note(index, None if message is None else read_link(message))

    def _note(self, index: int, link: KernelLink | None) -> None:
        self._links.set(index, link)
        self._changed.add(index)

    def _set_up_device(self, spec: LinkSpecSpec, link: KernelLink) -> None:
        if spec.wireguard is None:
            return
        device = _device(spec.wireguard, link)
        if self._memory.devices.get(spec.name) == device:
            return
        backend = backend_for(link.status.kind, self._netns)
        state = backend.read(spec.name, peers=False)
        if state is None:
            raise OSError(errno.ENODEV, "the WireGuard device does not answer")
        if difference := device_difference(spec.wireguard, state):
            backend.change(spec.name, difference)
            self._refresh = True
        if spec.wireguard.loose_reverse_path:
            loosen_reverse_path(spec.name, self._netns)
        self._memory.devices[spec.name] = device

    def _is_foreign(self, spec: LinkSpecSpec, link: KernelLink) -> bool:
        """Whether a link of the right kind is none of ours after all: a tun link may be anybody's."""
        if spec.kind != "wireguard" or link.status.kind != "tun":
            return False
        return not UserspaceWireguard(self._netns).owns(spec.name)

    def _note_master(self, spec: LinkSpecSpec) -> None:
        name = master_name(spec)
        if name:
            self._memory.mastered[spec.name] = name
        else:
            self._memory.mastered.pop(spec.name, None)


def _check_private_key(key: str) -> None:
    """Raises ValueError, which does not repeat the key."""
    try:
        parse_given_key(key)
    except ValueError as error:
        raise ValueError(f"private key: {error}: make one with `nodespan gen key`") from error


def _device(settings: WireguardSpec, link: KernelLink) -> _Device:
    return _Device(link.status.index, attrs.evolve(settings, peers=()))
