"""network.LinkSpecController: makes, sets up and removes links as desired.

A round decides, on a mirror of the kernel, which of the specs that something changed for differ; a worker thread goes
through these in order and takes one step at a time, each decided on what the kernel has then. A spec that fails does
not stop the others.

An existing bond or bridge of the desired name is taken over: the bonding driver makes a `bond0` of its own.

WireGuard: the kernel's, or wireguard-go where the kernel has none. Here its key, port and mark are set; peers are the
business of the WireguardPeerController. The kernel does not notify of changes to these, so they are read when the
link or the spec is new, and at each full comparison; and the controller that shows links is asked to look again.
"""

import functools
from collections.abc import AsyncIterator, Callable, Collection, Hashable, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import trio

from nodespan.controllers.common.link_refresh import ask_for_refresh
from nodespan.controllers.common.prior_state import PriorState
from nodespan.controllers.network.apply import bond_plan
from nodespan.controllers.network.apply.applier import Applier
from nodespan.controllers.network.apply.disturbances import program_of, restored
from nodespan.controllers.network.apply.interests import Interests, NotedLinks
from nodespan.controllers.network.apply.kernel_access import KeptConnection, KernelAccess, NetworkNamespace
from nodespan.controllers.network.apply.link_follower import LinkFollower
from nodespan.controllers.network.apply.link_originals import LinkOriginals
from nodespan.controllers.network.apply.link_plan import (
    Create,
    Refuse,
    Remove,
    Wait,
    adjustment,
    complaint,
    find,
    in_words,
)
from nodespan.controllers.network.apply.link_state import LinkState, device_of
from nodespan.controllers.network.apply.link_work import LinksDone, apply_links
from nodespan.controllers.network.apply.master_address import KINDS as KINDS_WITH_ADDRESS
from nodespan.controllers.network.apply.prior_objects import load_record
from nodespan.kernel.link_lookup import LinkLookup, LinkTable
from nodespan.kernel.links import LINK_SETTINGS, KernelLink, Links
from nodespan.kernel.rtnetlink import is_own_port
from nodespan.kernel.wireguard.keys import parse_given_key
from nodespan.resources.network import LinkFlags, LinkRefresh, LinkSpec, LinkSpecSpec
from nodespan.runtime.controller import Access, Applied, Decision, Driver, Look, Plan, Specs, shared


class LinkSpecController(Applier[LinkSpecSpec, LinkSpecSpec, LinksDone]):
    """Links that no spec names are never touched, and are restored as they were when none names them any more.

    `record` is the file in which it is kept how links were; without one, only this process knows.
    """

    name = "network.LinkSpecController"

    def __init__(
        self,
        *,
        netns: str | None = None,
        record: Path | None = None,
        kernel: KernelAccess | None = None,
        prior: PriorState | None = None,
    ) -> None:
        specs = Specs(LinkSpec)
        state = LinkState(desired=specs.desired, originals=LinkOriginals(record), prior=prior or PriorState(None))
        driver = LinkDriver(kernel or NetworkNamespace(netns), state)
        super().__init__(
            specs,
            LinkPlan(specs, state, driver.changed_by),
            driver,
            more_outputs=(shared(LinkRefresh),),
        )


class LinkDriver(Driver[LinkSpecSpec, LinksDone]):
    """A mirror of the links; a worker changes a copy of the state, which is taken over when it is done."""

    _follower: LinkFollower

    def __init__(self, kernel: KernelAccess, state: LinkState) -> None:
        self._kernel = KeptConnection(kernel)
        self._state = state

    @asynccontextmanager
    async def opened(self, ctx: Access, wake: Callable[[], None]) -> AsyncIterator[None]:  # noqa: ARG002
        """Reads the record, and opens the mirror."""
        await trio.to_thread.run_sync(self._state.originals.load)
        await load_record(self._state.prior)
        async with self._kernel.mirror(Links(), wake, LINK_SETTINGS) as links:
            self._state.links = LinkTable()
            self._follower = LinkFollower(links, self._state.links)
            try:
                yield
            finally:
                self._kernel.close()

    def changed_by(self, index: int) -> int:
        """The netlink port over which a link was last changed, 0 if that is not known."""
        return self._follower.changed_by(index)

    async def observe(self, look: Look) -> Collection[Hashable]:  # noqa: ARG002
        """The links that changed."""
        return await self._follower.take()

    def job(self, work: Mapping[str, LinkSpecSpec]) -> Callable[[], Applied[LinksDone]]:
        """Remove links, and make and set up others."""
        return functools.partial(apply_links, self._kernel, self._state.copy(), work)

    def found_nothing(self, result: LinksDone) -> bool:
        """Whether WireGuard devices, which were read again, are as they were set up."""
        return not result.changed and not result.refresh

    async def applied(self, ctx: Access, result: LinksDone) -> None:
        """Look at links that are down, for the kernel does not report all that changes of them."""
        self._state.memory, self._state.originals = result.state.memory, result.state.originals
        for index in result.changed:
            self._follower.note(index, result.state.links.get(index))
        await self._follower.look_if_down(result.changed, self._kernel.netns)
        if result.refresh:
            await ask_for_refresh(ctx)


class LinkPlan(Plan[LinkSpecSpec]):
    """Whether links are as desired. The work of a spec is the spec: its steps depend on what the kernel has by then."""

    def __init__(self, specs: Specs[LinkSpecSpec], state: LinkState, changed_by: Callable[[int], int]) -> None:
        self._specs = specs
        self._state = state
        self._changed_by = changed_by
        # The links of specs in effect: their index, and how often this process had disrupted links by then.
        self._held: dict[str, tuple[int, int]] = {}
        # How often it had when each spec was last decided on: by the time that is settled, a worker may have done more.
        self._decided_at: dict[str, int] = {}
        self._interests = Interests()
        # The master of which each spec says that it is a member.
        self._master_of: dict[str, str] = {}

    def concerned(self, topics: Iterable[Hashable]) -> set[str]:
        """The specs whose decision looked at these links."""
        return self._interests.of(topics)

    def everything(self) -> None:
        """Read WireGuard devices again, too."""
        self._state.memory.devices.clear()

    def holds(self, id: str) -> None:
        """Remember which link it is."""
        link = find(self._specs.desired[id], LinkLookup(self._state.links))
        if link is not None:
            self._held[id] = (link.status.index, self._decided_at.get(id, 0))

    def _undone(self, id: str, spec: LinkSpecSpec) -> str:
        """Whether the link was deleted or set down, which the kernel does not do by itself to a link that is left."""
        index, disruptions = self._held.get(id, (0, 0))
        port = self._changed_by(index)
        # Before Linux 6.2 the kernel does not say who did it.
        if not index or is_own_port(port) or (not port and disruptions != self._state.memory.disruptions):
            return ""
        link = self._state.links.get(index)
        if link is None:
            return restored("it was deleted", program_of(port)) if spec.logical else ""
        # A bond sets its members down itself when they are released.
        if spec.up and LinkFlags.UP not in link.status.flags and (port or not spec.master):
            return restored("it was set down", program_of(port))
        return ""

    def changed(self, id: str) -> None:
        """Keep who is a member of what."""
        self._held.pop(id, None)
        before = self._master_of.pop(id, "")
        if before:
            self._state.members.get(before, set()).discard(id)
        spec = self._specs.desired.get(id)
        after = spec.master if spec is not None else ""
        if after:
            self._master_of[id] = after
            self._state.members.setdefault(after, set()).add(id)

    def gone(self, id: str) -> None:
        """Forget what was known of a link."""
        self._interests.note(id, ())
        self._held.pop(id, None)
        self._decided_at.pop(id, None)
        self._state.memory.forget(id)
        self._state.members.pop(id, None)

    def decide(self, id: str) -> Mapping[str, Decision[LinkSpecSpec]]:
        """Whether a link is as desired."""
        noted: set[Hashable] = set()
        lookup = LinkLookup(NotedLinks(self._state.links, noted))
        self._decided_at[id] = self._state.memory.disruptions
        if id in self._specs.desired:
            try:
                decision = self._decide_desired(self._specs.desired[id], lookup)
                if decision.work is not None:
                    decision = attrs.evolve(decision, undone=self._undone(id, decision.work))
                elif decision.waiting or decision.refused:
                    self._held.pop(id, None)
            except ValueError as error:
                decision = Decision(refused=str(error))
        else:
            decision = self._decide_leaving(self._specs.leaving[id], lookup)
        self._interests.note(id, noted)
        return {id: decision}

    def _decide_leaving(self, spec: LinkSpecSpec, lookup: LinkLookup) -> Decision[LinkSpecSpec]:
        """Only what was made is removed; a link that the agent did not make becomes again as it was."""
        if not spec.logical:
            found = find(spec, lookup)
            if found is None:
                return Decision()
            if self._state.heir(spec.name, found, lookup) is not None:
                return Decision() if self._state.originals.get(spec.name) is None else Decision(work=spec)
            if self._state.undoing(spec.name, found) is None:
                return Decision()
            return Decision(work=spec, instead="it is changed again")
        prior = self._state.prior_link(spec.name)
        if prior is None:
            # Never taken, so there is nothing to take back.
            return Decision()
        is_own = not prior.index and lookup.real(spec.name) is not None
        return Decision(work=spec, instead="it is there again" if is_own else "")

    def _decide_desired(self, spec: LinkSpecSpec, lookup: LinkLookup) -> Decision[LinkSpecSpec]:
        memory = self._state.memory
        if spec.bond_master is not None:
            bond_plan.filled(spec.bond_master)
        if spec.wireguard is not None and spec.wireguard.private_key:
            _check_private_key(spec.wireguard.private_key)
        match self._state.existence(spec, lookup):
            case Create():
                return Decision(work=spec, instead="it is gone again")
            case Remove():
                return Decision(work=spec, instead="it is made again in another way")
            case Wait(reason):
                return Decision(waiting=reason)
            case Refuse(reason):
                return Decision(refused=reason)
        link = find(spec, lookup)
        if link is None:
            return Decision()
        said: list[str] = []
        if spec.bond_master is not None:
            options = bond_plan.changes(spec.bond_master, link, lookup)
            if options:
                said.append(bond_plan.in_words(options, link.status.bond_master))
        change = adjustment(spec, link, lookup, self._state.deciding(spec)) or self._state.no_longer_said(spec, link)
        if change is not None:
            said.append(in_words(change, link, lookup))
        if spec.wireguard is not None and memory.devices.get(spec.name) != device_of(spec.wireguard, link):
            said.append("its WireGuard settings")
        if said or (spec.logical and self._state.prior_link(spec.name) is None):
            return Decision(work=spec, instead=", ".join(said))
        warning = "" if spec.bond_master is None else bond_plan.blindness(spec.name, spec.bond_master)
        self._remember_address(spec, link)
        return Decision(refused=complaint(spec, link, lookup), warning=warning)

    def _remember_address(self, spec: LinkSpecSpec, link: KernelLink) -> None:
        if spec.kind in KINDS_WITH_ADDRESS and self._state.links.members(link.status.index):
            self._state.memory.addresses[spec.name] = link.status.hardware_addr


def _check_private_key(key: str) -> None:
    """Raises ValueError, which does not repeat the key."""
    try:
        parse_given_key(key)
    except ValueError as error:
        raise ValueError(f"private key: {error}: make one with `nodespan gen key`") from error
