"""Making, setting up and removing links, in a worker thread: each step is decided on what the kernel has by then.

A spec that fails does not stop the others.
"""

import errno
import struct
from collections.abc import Iterable, Mapping

import attrs

from nodespan.controllers.common.prior_state import link_slot
from nodespan.controllers.network.apply import bond_plan
from nodespan.controllers.network.apply.kernel_access import KernelAccess
from nodespan.controllers.network.apply.link_originals import changed, decided, forgotten, inherited
from nodespan.controllers.network.apply.link_plan import (
    Create,
    Refuse,
    Remove,
    Wait,
    adjustment,
    find,
    in_order,
)
from nodespan.controllers.network.apply.link_prior import (
    PriorLink,
    as_it_is,
    return_of,
    settings_of,
    to_plain,
)
from nodespan.controllers.network.apply.link_state import LinkState, device_of
from nodespan.controllers.network.apply.master_address import KINDS as KINDS_WITH_ADDRESS
from nodespan.controllers.network.apply.master_address import first_member_address
from nodespan.kernel.changes.bonding import load_bonding
from nodespan.kernel.changes.link_changes import LinkChange, change_link, create_link, creation_request, delete_link
from nodespan.kernel.changes.reverse_path import loosen_reverse_path, read_reverse_path, set_reverse_path
from nodespan.kernel.link_lookup import LinkLookup
from nodespan.kernel.links import KernelLink, is_of_kind, list_links, read_link
from nodespan.kernel.rtnetlink import Request, RtnlSocket
from nodespan.kernel.wireguard import backend_for, daemon
from nodespan.kernel.wireguard.device import device_difference
from nodespan.kernel.wireguard.uapi import UserspaceWireguard
from nodespan.resources.network import LinkFlags, LinkSpecSpec, WireguardSpec
from nodespan.resources.network.link import IPV6_MINIMUM_MTU
from nodespan.runtime.controller import Applied

# More steps than any link takes.
_STEPS = 12
# The kinds of links that are made by one request, with nothing to load, to start or to look up before.
_MADE_AT_ONCE = frozenset({"dummy", "macvlan", "veth", "vlan", "vxlan"})
# Fewer are made one by one, and are complete in one round.
_WORTHWHILE = 3


@attrs.frozen(kw_only=True)
class LinksDone:
    """What a worker returns: the state as it left it, the links that it touched, and whether devices were set up."""

    state: LinkState
    changed: frozenset[int]
    refresh: bool


def apply_links(access: KernelAccess, state: LinkState, work: Mapping[str, LinkSpecSpec]) -> Applied[LinksDone]:
    """Remove links, and make and set up others. `state` is the worker's own. Blocks."""
    failed: dict[str, Exception] = {}
    leaving = [spec for id, spec in work.items() if id not in state.desired]
    desired = in_order(spec for id, spec in work.items() if id in state.desired)
    with access.open() as kernel:
        worker = _Worker(kernel, access.netns, state)
        for spec in leaving:
            try:
                worker.remove(spec)
            except OSError as error:
                failed[spec.name] = error
        made = worker.make_at_once(desired)
        for spec in desired:
            if spec.name in made:
                continue
            try:
                worker.reconcile(spec)
            except OSError as error:
                failed[spec.name] = error
            except (ValueError, struct.error) as error:
                # A setting that does not fit into a message, which no check of a configuration lets through.
                failed[spec.name] = OSError(errno.EINVAL, str(error))
    return Applied(
        result=LinksDone(state=state, changed=frozenset(worker.changed), refresh=worker.refresh), failed=failed
    )


class _Worker:
    """One connection, and the state as it becomes."""

    def __init__(self, kernel: RtnlSocket, netns: str | None, state: LinkState) -> None:
        self._kernel = kernel
        self._netns = netns
        self._state = state
        self.changed: set[int] = set()
        self.refresh = False

    def remove(self, spec: LinkSpecSpec) -> None:
        if not spec.logical:
            self._give_back(spec)
            return
        link = self._state.links.real(spec.name)
        prior = self._state.prior_link(spec.name)
        if prior is None:
            return
        if link is not None and prior.index == link.status.index:
            self._return(prior)
        elif link is not None and not prior.index and is_of_kind(link, spec.kind):
            if self._is_foreign(spec, link):
                self._state.memory.foreign.add(spec.name)
            else:
                self._remove(link.status.index)
        self._state.prior.journal.change({link_slot(spec.name): None})

    def _note_prior(self, spec: LinkSpecSpec, link: KernelLink | None) -> None:
        """Put on record what a link is before it is made or changed for the first time. Raises OSError."""
        if not spec.logical or self._state.prior_link(spec.name) is not None:
            return
        prior = PriorLink()
        # Without a record of what earlier processes made, a link of the right kind counts as their doing.
        if link is not None and self._state.prior.journal.is_durable:
            settings: WireguardSpec | None = None
            reverse_path = ""
            if spec.wireguard is not None:
                backend = backend_for(link.status.kind, self._netns)
                device = backend.read(spec.name)
                if device is not None:
                    settings = settings_of(device, backend.read_private_key(spec.name))
                if spec.wireguard.loose_reverse_path:
                    reverse_path = read_reverse_path(spec.name, self._netns)
            lookup = LinkLookup(self._state.links)
            prior = PriorLink(
                index=link.status.index,
                spec=as_it_is(link, lookup, settings),
                members=tuple(member.name for member in self._state.links.members(link.status.index)),
                reverse_path=reverse_path,
            )
        self._state.prior.journal.change({link_slot(spec.name): to_plain(prior)})

    def _return(self, prior: PriorLink) -> None:
        """Make a link of others be as it was before it was taken over. Raises OSError."""
        before = prior.spec
        if before is None:
            return
        links = self._state.links
        if before.wireguard is not None:
            link = links.real(before.name)
            backend = backend_for(link.status.kind if link is not None else "", self._netns)
            device = backend.read(before.name)
            if device is not None and (change := return_of(before.wireguard, device)):
                backend.change(before.name, change)
                self.refresh = True
            self._state.memory.devices.pop(before.name, None)
        if prior.reverse_path:
            set_reverse_path(before.name, self._netns, prior.reverse_path)
        # Never made anew: the other end of a pair goes with the first, which the list may not show yet.
        self.reconcile(attrs.evolve(before, wireguard=None), may_create=False)
        master = links.real(before.name)
        for name in prior.members:
            member = links.real(name)
            if master is not None and member is not None and not member.status.master_index:
                slave = as_it_is(member, LinkLookup(links), None)
                self.reconcile(attrs.evolve(slave, logical=False, master_name=before.name))

    def _make_good(self, spec: LinkSpecSpec) -> None:
        """Put back what a link lost when it was changed, once it can carry it. Raises OSError."""
        link = find(spec, LinkLookup(self._state.links))
        if link is not None:
            self._state.prior.restore_losses(self._netns, link.status.index)

    def _give_back(self, spec: LinkSpecSpec) -> None:
        """Make a link that was there before be as it was, unless it is desired by another name. Raises OSError."""
        for _ in range(_STEPS):
            lookup = LinkLookup(self._state.links)
            link = find(spec, lookup)
            heir = None if link is None else self._state.heir(spec.name, link, lookup)
            if heir is not None:
                self._state.originals.set(
                    heir, inherited(self._state.originals.get(heir), self._state.originals.get(spec.name))
                )
                break
            change = None if link is None else self._state.undoing(spec.name, link)
            if link is None or change is None:
                break
            self._change(change)
            self._reread(link.status.index)
            if change.master is not None:
                self._state.memory.mastered.pop(spec.name, None)
                self._state.forget_master(link)
        self._make_good(spec)
        self._state.originals.set(spec.name, None)

    def make_at_once(self, specs: Iterable[LinkSpecSpec]) -> frozenset[str]:
        """Make links that need a single request, together; returns the names of those that were made.

        They are not read back: the mirror shows them to the next round, which does what is left to do. What is refused
        is tried again alone, which says why.
        """
        lookup = LinkLookup(self._state.links)
        requests: dict[str, Request] = {}
        for spec in specs:
            if spec.kind not in _MADE_AT_ONCE or spec.hardware_addr or spec.master:
                continue
            match self._state.existence(spec, lookup):
                case Create(_, parent_index):
                    try:
                        requests[spec.name] = creation_request(spec, parent_index)
                    except (ValueError, struct.error):
                        # A setting that does not fit into a message: shown when it is made alone.
                        continue
        if len(requests) < _WORTHWHILE:
            return frozenset()
        new = {link_slot(name): to_plain(PriorLink()) for name in requests if self._state.prior_link(name) is None}
        try:
            self._state.prior.journal.change(new)
            refused = self._kernel.request_all(tuple(requests.values()))
        except OSError:
            # Each by itself says why.
            return frozenset()
        made = [name for position, name in enumerate(requests) if position not in refused]
        self._state.memory.made.update((name, self._state.desired[name].kind) for name in made)
        return frozenset(made)

    def reconcile(self, spec: LinkSpecSpec, *, may_create: bool = True) -> None:
        """Take steps until there is nothing to do, or nothing that can be done now. Raises OSError."""
        relisted = False
        for _ in range(_STEPS):
            try:
                if not self._step(spec, may_create):
                    self._make_good(spec)
                    return
            except OSError as error:
                # What rests on a link vanishes with it: the list may be out of date.
                if error.errno != errno.ENODEV or relisted:
                    raise
                relisted = True
                self._relist()
        raise OSError(errno.EIO, "the kernel does not keep it as desired")

    def _step(self, spec: LinkSpecSpec, may_create: bool) -> bool:
        """Take one step; returns whether there may be more."""
        lookup = LinkLookup(self._state.links)
        match self._state.existence(spec, lookup):
            case Create() if not may_create:
                return False
            case Create(_, parent_index):
                self._note_prior(spec, None)
                self._create(spec, parent_index)
                return True
            case Remove(index):
                self._remove(index)
                self._relist()
                return True
            case Wait() | Refuse():
                return False
        link = find(spec, lookup)
        if link is None:
            return False
        if self._is_foreign(spec, link):
            raise FileExistsError(errno.EEXIST, f"there is a tun link {spec.name} that is not a WireGuard device")
        self._note_prior(spec, link)
        self._state.memory.made[spec.name] = link.status.kind
        self._set_up_device(spec, link)
        if spec.bond_master is not None:
            members = self._state.links.members(link.status.index)
            if steps := bond_plan.steps(spec.bond_master, link, lookup, members):
                for step in steps:
                    self._change(step)
                return True
        change = adjustment(spec, link, lookup, self._state.deciding(spec))
        if change is None:
            undoing = self._state.no_longer_said(spec, link)
            if undoing is not None:
                self._change(undoing)
            self._state.originals.set(spec.name, forgotten(self._state.originals.get(spec.name), decided(spec)))
            return False
        if change.master is not None:
            self._state.note_master(spec, link)
        if change.master:
            self._lend_address(change.master)
        if not spec.logical:
            # On record before it is done: a process may be killed in between.
            self._state.originals.set(spec.name, changed(self._state.originals.get(spec.name), link, change))
        self._change(change)
        if change.master is not None:
            self._note_master(spec)
            # Joining may change the master too.
            self._reread(change.master)
        # A link that was set down is so to join its master next.
        return change.master is not None or (change.up is not True and spec.master != "")

    def _create(self, spec: LinkSpecSpec, parent_index: int) -> None:
        lookup = LinkLookup(self._state.links)
        options: bond_plan.Options = ()
        if spec.bond_master is not None:
            load_bonding()
            options = bond_plan.creation(spec.bond_master, lookup)
        if spec.kind in KINDS_WITH_ADDRESS and not spec.hardware_addr:
            spec = attrs.evolve(spec, hardware_addr=self._address_of_master(spec.name, lookup))
        try:
            create_link(self._kernel, spec, parent_index, options)
        except FileExistsError:
            self._relist()
            if self._state.links.real(spec.name) is None:
                # Another link has what there can be once, as the number of a VXLAN.
                raise
            return
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise
            if spec.kind != "wireguard":
                raise OSError(error.errno, f"this kernel makes no {spec.kind} links") from error
            daemon.start(spec.name, self._netns)
        message = self._kernel.link(name=spec.name)
        if message is not None:
            link = read_link(message)
            self._note(link.status.index, link)

    def _change(self, change: LinkChange) -> None:
        """Change what can be changed; what the kernel refuses does not stop the rest of it. Raises OSError."""
        self._state.memory.disruptions += change.up is False
        if _takes_along(change):
            self._state.prior.before_loss(self._netns, {change.index})
        try:
            change_link(self._kernel, change)
        except OSError as error:
            parts = change.apart()
            if len(parts) == 1 or error.errno in (errno.ENODEV, errno.EPERM):
                raise
            refusals: list[OSError] = []
            for part in parts:
                try:
                    change_link(self._kernel, part)
                except OSError as refusal:
                    refusals.append(refusal)
            if refusals:
                raise refusals[0] from error
        finally:
            self.changed.add(change.index)
            # Nothing that is done next depends on whether a link without a master is up.
            if change != LinkChange(index=change.index, up=True):
                self._reread(change.index)

    def _remove(self, index: int) -> None:
        self._state.memory.disruptions += 1
        try:
            delete_link(self._kernel, index)
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise
        self._note(index, None)

    def _lend_address(self, index: int) -> None:
        """A master without members gets the address that it is to keep before it gets its first."""
        master = self._state.links.get(index)
        if master is None or master.status.kind not in KINDS_WITH_ADDRESS or self._state.links.members(index):
            return
        spec = self._state.desired.get(master.name)
        if spec is None or spec.hardware_addr or not spec.logical:
            return
        address = self._address_of_master(spec.name, LinkLookup(self._state.links))
        if address and address != master.status.hardware_addr:
            # Set down meanwhile, for the link-local address is made of the hardware address when a link comes up.
            is_up = LinkFlags.UP in master.status.flags
            self._change(LinkChange(index=index, hardware_addr=address, up=False if is_up else None))
            if is_up:
                self._change(LinkChange(index=index, up=True))

    def _address_of_master(self, name: str, lookup: LinkLookup) -> str:
        known = self._state.memory.addresses.get(name)
        if known is None:
            known = first_member_address((self._state.desired[id] for id in self._state.members.get(name, ())), lookup)
            if known:
                self._state.memory.addresses[name] = known
        return known

    def _relist(self) -> None:
        now = list_links(self._kernel)
        for index in self._state.links.keys() - now.keys():
            self._note(index, None)
        for index, link in now.items():
            if self._state.links.get(index) != link:
                self._note(index, link)

    def _reread(self, index: int) -> None:
        if index:
            message = self._kernel.link(index)
            self._note(index, None if message is None else read_link(message))

    def _note(self, index: int, link: KernelLink | None) -> None:
        self._state.links.set(index, link)
        self.changed.add(index)

    def _set_up_device(self, spec: LinkSpecSpec, link: KernelLink) -> None:
        if spec.wireguard is None:
            return
        device = device_of(spec.wireguard, link)
        if self._state.memory.devices.get(spec.name) == device:
            return
        backend = backend_for(link.status.kind, self._netns)
        state = backend.read(spec.name, peers=False)
        if state is None:
            raise OSError(errno.ENODEV, "the WireGuard device does not answer")
        if difference := device_difference(spec.wireguard, state):
            backend.change(spec.name, difference)
            self.refresh = True
        if spec.wireguard.loose_reverse_path:
            loosen_reverse_path(spec.name, self._netns)
        self._state.memory.devices[spec.name] = device

    def _is_foreign(self, spec: LinkSpecSpec, link: KernelLink) -> bool:
        """Whether a link of the right kind is none of ours after all: a tun link may be anybody's."""
        if spec.kind != "wireguard" or link.status.kind != "tun":
            return False
        return not UserspaceWireguard(self._netns).owns(spec.name)

    def _note_master(self, spec: LinkSpecSpec) -> None:
        name = spec.master
        if name:
            self._state.memory.mastered[spec.name] = name
        else:
            self._state.memory.mastered.pop(spec.name, None)


def _takes_along(change: LinkChange) -> bool:
    """Whether addresses or routes may go with a change: of links that are set down, or of IPv6 by a small MTU."""
    is_small = change.mtu is not None and change.mtu < IPV6_MINIMUM_MTU
    return change.up is False or change.master is not None or is_small
