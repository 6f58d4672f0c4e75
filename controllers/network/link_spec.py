"""network.LinkSpecController: makes, sets up and removes links as they are wanted.

A turn asks the mirror of the kernel what differs; where something does, a worker thread goes through the specs in order
and takes one step at a time, each decided on a fresh list. A spec that fails does not stop the others and is left alone
until it changes or the next retry.

WireGuard: the kernel's, or wireguard-go where the kernel has none. Here its key, port and mark are set; peers are the
business of the WireguardPeerController. The kernel does not tell of changes to these, so they are looked at when the
link or the spec is new, and every now and then.
"""

import errno
from collections.abc import Iterable, Mapping

import attrs
import trio

from controllers.network.applier import RETRY_INTERVAL, hold, list_now
from controllers.network.kernel.link_changes import change_link, create_link, delete_link
from controllers.network.kernel.links import KernelLink, Links
from controllers.network.kernel.mirror import open_mirror
from controllers.network.kernel.reverse_path import loosen_reverse_path
from controllers.network.kernel.rtnetlink import Kernel, open_kernel
from controllers.network.kernel.wireguard import backend_for, daemon
from controllers.network.kernel.wireguard.device import device_difference
from controllers.network.kernel.wireguard.uapi import UserspaceWireguard
from controllers.network.link_lookup import LinkLookup
from controllers.network.link_plan import (
    Create,
    Refuse,
    Remove,
    Wait,
    adjustment,
    existence,
    find,
    in_order,
    is_of_kind,
    master_name,
)
from controllers.network.problems import Problems, reason_of
from resources.network import LinkSpec, LinkSpecSpec, NetworkProblem, WireguardSpec
from runtime.controller import Controller, ControllerContext, shared, strong

# How long the mirror may take to show what was done.
_LAG = 0.2
# More steps than any link takes.
_STEPS = 8
# How long a spec that failed is left alone, in seconds; twice as long after each further failure.
_FIRST_DELAY = 1.0


@attrs.frozen
class _Device:
    """A WireGuard device as it was last set up: the link, and the settings without peers."""

    index: int
    settings: WireguardSpec


@attrs.frozen
class _Failure:
    """A spec that could not be brought about, why, and when it is tried again."""

    spec: LinkSpecSpec
    reason: str
    again_at: float
    delay: float


@attrs.define
class _Memory:
    """What the controller knows of its own doing. Nothing in it is needed: a new process learns it anew."""

    # Of which kind the links are that it made or took over, and into which masters it put links.
    made: dict[str, str] = attrs.field(factory=dict)
    mastered: dict[str, str] = attrs.field(factory=dict)
    devices: dict[str, _Device] = attrs.field(factory=dict)
    failures: dict[str, _Failure] = attrs.field(factory=dict)

    def forget(self, name: str) -> None:
        for known in (self.made, self.mastered, self.devices, self.failures):
            known.pop(name, None)

    def is_resting(self, spec: LinkSpecSpec, now: float) -> bool:
        """Whether this very spec failed a short while ago."""
        failure = self.failures.get(spec.name)
        return failure is not None and failure.spec == spec and now < failure.again_at

    def note_failure(self, spec: LinkSpecSpec, reason: str, now: float) -> None:
        before = self.failures.get(spec.name)
        known = before is not None and before.spec == spec
        delay = min(before.delay * 2, RETRY_INTERVAL) if known and before is not None else _FIRST_DELAY
        self.failures[spec.name] = _Failure(spec, reason, now + delay, delay)


@attrs.frozen
class _Outcome:
    failed: Mapping[str, OSError]
    # Leaving specs whose links are gone, or were never made.
    gone: frozenset[str]


class LinkSpecController(Controller):
    """Links that no spec names are never touched."""

    name = "network.LinkSpecController"
    inputs = (strong(LinkSpec),)
    outputs = (shared(NetworkProblem),)

    def __init__(self, *, netns: str | None = None) -> None:
        self._netns = netns
        self._memory = _Memory()

    async def run(self, ctx: ControllerContext) -> None:
        """Follow specs and kernel."""
        problems = Problems(ctx, LinkSpec)
        async with (
            open_mirror(Links(), netns=self._netns, on_change=ctx.wake) as links,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(self._retry, ctx)
            async for _ in ctx:
                links.take()
                again = await self._turn(ctx, problems, links.items)
                if again is not None:
                    nursery.start_soon(self._look_again, ctx, again)

    async def _retry(self, ctx: ControllerContext) -> None:
        while True:
            await trio.sleep(RETRY_INTERVAL)
            self._memory.devices.clear()
            ctx.wake()

    async def _look_again(self, ctx: ControllerContext, delay: float) -> None:
        await trio.sleep(delay)
        ctx.wake()

    async def _turn(self, ctx: ControllerContext, problems: Problems, links: Mapping[int, KernelLink]) -> float | None:
        """Compare and do what is to be done; returns after how many seconds to look again, None for no need to."""
        wanted, leaving = await hold(ctx, LinkSpec)
        lookup = LinkLookup(links)
        differing = [spec for spec in wanted.values() if self._differs(spec, lookup)]
        outcome = _Outcome({}, frozenset())
        if differing or leaving:
            now = trio.current_time()
            outcome = await trio.to_thread.run_sync(
                self._apply, in_order(wanted.values()), tuple(leaving.values()), now
            )
        for name in outcome.gone:
            self._memory.forget(name)
            await ctx.remove_finalizer(LinkSpec, name)
        waiting, refused = self._undone(wanted.values(), lookup)
        failures = self._memory.failures
        loud = refused | {name: failures[name].reason for name in wanted if name in failures}
        loud |= {name: reason_of(outcome.failed[name]) for name in outcome.failed if name in leaving}
        await problems.show(waiting | loud, loud=frozenset(loud))
        delays = [failures[name].delay for name in outcome.failed if name in failures]
        return min(delays, default=_LAG if differing else None)

    def _differs(self, spec: LinkSpecSpec, lookup: LinkLookup) -> bool:
        memory = self._memory
        if memory.is_resting(spec, trio.current_time()):
            return False
        match existence(spec, lookup, memory.made):
            case Create() | Remove():
                return True
            case Wait() | Refuse():
                return False
        link = find(spec, lookup)
        if link is None:
            return False
        if spec.wireguard is not None and memory.devices.get(spec.name) != _device(spec.wireguard, link):
            return True
        return adjustment(spec, link, lookup, memory.mastered) is not None

    def _undone(self, specs: Iterable[LinkSpecSpec], lookup: LinkLookup) -> tuple[dict[str, str], dict[str, str]]:
        waiting: dict[str, str] = {}
        refused: dict[str, str] = {}
        for spec in specs:
            match existence(spec, lookup, self._memory.made):
                case Wait(reason):
                    waiting[spec.name] = reason
                case Refuse(reason):
                    refused[spec.name] = reason
        return waiting, refused

    # In a worker thread.

    def _apply(self, wanted: Iterable[LinkSpecSpec], leaving: Iterable[LinkSpecSpec], now: float) -> _Outcome:
        failed: dict[str, OSError] = {}
        gone: set[str] = set()
        with open_kernel(self._netns) as kernel:
            for spec in leaving:
                try:
                    self._take_away(kernel, spec)
                except OSError as error:
                    failed[spec.name] = error
                    # Who may not change anything has not made it either.
                    if error.errno != errno.EPERM:
                        continue
                gone.add(spec.name)
            for spec in wanted:
                if self._memory.is_resting(spec, now):
                    continue
                try:
                    self._bring_about(kernel, spec)
                except OSError as error:
                    failed[spec.name] = error
                    self._memory.note_failure(spec, reason_of(error), now)
                else:
                    self._memory.failures.pop(spec.name, None)
        return _Outcome(failed, frozenset(gone))

    def _take_away(self, kernel: Kernel, spec: LinkSpecSpec) -> None:
        """Remove what was made; a link that the agent did not make stays as it is."""
        if not spec.logical:
            return
        link = LinkLookup(list_now(kernel, Links())).real(spec.name)
        if link is None or not is_of_kind(link, spec.kind) or self._is_foreign(spec, link):
            return
        _remove(kernel, link.status.index)

    def _bring_about(self, kernel: Kernel, spec: LinkSpecSpec) -> None:
        """Take steps until there is nothing to do, or nothing that can be done now. Raises OSError."""
        for _ in range(_STEPS):
            lookup = LinkLookup(list_now(kernel, Links()))
            match existence(spec, lookup, self._memory.made):
                case Create(_, parent_index):
                    self._create(kernel, spec, parent_index)
                    continue
                case Remove(index):
                    _remove(kernel, index)
                    continue
                case Wait() | Refuse():
                    return
            link = find(spec, lookup)
            if link is None:
                continue
            if self._is_foreign(spec, link):
                raise FileExistsError(errno.EEXIST, f"there is a tun link {spec.name} that is no WireGuard device")
            self._memory.made[spec.name] = link.status.kind
            self._set_up_device(spec, link)
            change = adjustment(spec, link, lookup, self._memory.mastered)
            if change is None:
                return
            change_link(kernel, change)
            if change.master is not None:
                self._note_master(spec)
        raise OSError(errno.EIO, "the kernel does not keep it as it is wanted")

    def _create(self, kernel: Kernel, spec: LinkSpecSpec, parent_index: int) -> None:
        try:
            create_link(kernel, spec, parent_index)
        except FileExistsError:
            return
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise
            if spec.kind != "wireguard":
                raise OSError(error.errno, f"this kernel makes no {spec.kind} links") from error
            daemon.start(spec.name, self._netns)

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
        try:
            difference = device_difference(spec.wireguard, state)
        except ValueError as error:
            raise OSError(errno.EINVAL, f"private key: {error}") from error
        if difference:
            backend.change(spec.name, difference)
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


def _device(settings: WireguardSpec, link: KernelLink) -> _Device:
    return _Device(link.status.index, attrs.evolve(settings, peers=()))


def _remove(kernel: Kernel, index: int) -> None:
    try:
        delete_link(kernel, index)
    except OSError as error:
        if error.errno != errno.ENODEV:
            raise
