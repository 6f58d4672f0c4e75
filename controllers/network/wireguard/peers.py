"""network.WireguardPeerController: sends WireGuard devices their peers.

What changes at about the same time is one request to a device, and a peer that changes is sent alone, however many
there are. A device is read and compared as a whole when it is new, after a failure, and at each full comparison. Only
devices of desired WireGuard links are touched. Peers that a configured device had before the agent took it over stay,
and a device is left alone until they are on record.

Endpoints that are names are looked up beside all of this. Devices with such peers are looked at every few seconds, for
one that stays silent.
"""

import errno
import functools
import math
import time
from collections.abc import AsyncIterator, Callable, Collection, Hashable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio

from nodespan.controllers.common.link_refresh import ask_for_refresh
from nodespan.controllers.common.prior_state import PriorState
from nodespan.controllers.common.problems import reason_of
from nodespan.controllers.common.wall_offset import WallOffset
from nodespan.controllers.network.wireguard.desired_peers import INLINE, DesiredPeers, Device
from nodespan.controllers.network.wireguard.endpoint_names import Lookup, Silence, is_silent
from nodespan.controllers.network.wireguard.first_word import (
    held_back,
    silence_at_first,
    with_held_back,
    without_keepalive,
)
from nodespan.controllers.network.wireguard.ledger import PeerLedger
from nodespan.kernel.addresses import Addresses, AddressKey
from nodespan.kernel.links import LINKS_WITHOUT_QUEUES, Links
from nodespan.kernel.shared_mirror import MirrorView, open_shared_mirror
from nodespan.kernel.wireguard import backend_for
from nodespan.kernel.wireguard.device import DeviceChange, PeerConfig
from nodespan.kernel.wireguard.handshake import Handshake
from nodespan.kernel.wireguard.status import USERSPACE_KIND
from nodespan.kernel.wireguard.uapi import UserspaceWireguard
from nodespan.resources.network import (
    AddressStatusSpec,
    LinkRefresh,
    LinkSpec,
    NetworkProblem,
    WireguardPeerSpec,
    split_wireguard_peer_id,
)
from nodespan.runtime.backoff import Exponential
from nodespan.runtime.controller import (
    Access,
    Applied,
    Decision,
    Driver,
    Look,
    Plan,
    QueueContext,
    QueueController,
    Reconciler,
    Report,
    Retries,
    mapped,
    primary,
    shared,
)
from nodespan.runtime.process.boot_time import boot_time
from nodespan.runtime.resource import Metadata, Pointer

# After a restart, so long may peers of a device be unknown to all who want peers before they are removed; in seconds.
STALE_AFTER = 300.0
# Changes that come within this time are one request.
_GATHER = 0.01
_RETRIES = Exponential(base=0.2, cap=60.0)
# Links are asked to be shown again no more often than this, in seconds; a device of many peers takes longer to read.
_REFRESH_PAUSE = 1.0
_PEERS_PER_SECOND = 1000
# A device with many peers is not looked at for more than this part of the time.
_REST = 20.0
# It is looked whether a device is on record now after so long, and after longer the longer it is not; in seconds.
_RECORD_PAUSES = (0.05, 5.0)


class WireguardPeerController(QueueController):
    """Peers come from `WireguardPeerSpec` resources and from the links' own specs, of which the former win."""

    name = "network.WireguardPeerController"
    inputs = (primary(WireguardPeerSpec), mapped(LinkSpec))
    outputs = (shared(LinkRefresh), shared(NetworkProblem))

    def __init__(
        self,
        *,
        netns: str | None = None,
        stale_after: float = STALE_AFTER,
        silence: Silence | None = None,
        lookup: Lookup | None = None,
        boot_clock: Callable[[], float] = boot_time,
        wall_clock: Callable[[], float] = time.time,
        prior: PriorState | None = None,
    ) -> None:
        prior = prior or PriorState(None)
        silence = silence or Silence()
        retries = Retries(_RETRIES)
        self._desired = DesiredPeers(retries, self._wake, lookup=lookup, pause=silence.pause)
        self._reconciler = Reconciler(
            desired=self._desired,
            plan=_PeerPlan(self._desired, stale_after, prior),
            driver=_DeviceDriver(netns, self._desired, silence, boot_clock, WallOffset(boot_clock, wall_clock), prior),
            retries=retries,
            report=_DeviceReport(self._desired, retries),
            gather=_GATHER,
        )

    def _wake(self) -> None:
        self._reconciler.wake()

    async def reconcile(self, ctx: QueueContext, item: Pointer[Any]) -> None:  # noqa: ARG002
        """Note that the peer changed; a round takes it up together with others."""
        self._desired.touch_peer(item.id)

    def map_input(self, ctx: QueueContext, changed: Metadata) -> Iterable[Pointer[Any]]:  # noqa: ARG002
        """A link that is desired otherwise, or no more, is taken up by a round too."""
        self._desired.touch_link(changed.id)
        return ()

    async def run(self, ctx: QueueContext) -> None:
        """Follow specs and kernel."""
        await self._reconciler.run(ctx)


@attrs.frozen
class Compare:
    """Read a device and make it have these peers; of those that are `held`, new ones begin without keepalive."""

    kind: str
    peers: Mapping[str, PeerConfig]
    ledger: PeerLedger
    remove_others: bool
    spared: frozenset[str] = frozenset()
    held: frozenset[str] = frozenset()


@attrs.frozen
class Send:
    """Send a device the peers that changed, None for those to remove."""

    kind: str
    peers: Mapping[str, PeerConfig | None]
    change: DeviceChange


DeviceWork = Compare | Send


@attrs.frozen
class Sent:
    """What came of the work on a device, whether anything had to be changed, and which peers are held back."""

    work: DeviceWork
    has_changed: bool = False
    held: frozenset[str] = frozenset()
    has_failed: bool = False


class _PeerPlan(Plan[DeviceWork]):
    """By what was sent to the device last; as a whole if that is not certain."""

    def __init__(self, desired: DesiredPeers, stale_after: float, prior: PriorState) -> None:
        self._desired = desired
        self._stale_after = stale_after
        self._prior = prior

    def everything(self) -> None:
        """Read all devices."""
        for device in self._desired.devices.values():
            device.is_unknown = True

    def decide(self, id: str) -> Mapping[str, Decision[DeviceWork]]:
        """What to send to a device."""
        device, peers = self._desired.devices[id], self._desired.peers_of(id)
        spared = self._prior.peers_of_others(id, device.index)
        device.awaits_record = spared is None
        if spared is None:
            return {id: Decision(waiting="what the device was before is not on record yet")}
        if not device.is_configured:
            spared = frozenset()
        if device.is_unknown:
            _hold_back(device, peers, peers)
            remove_others = trio.current_time() - device.since >= self._stale_after
            held = frozenset(device.held)
            work = Compare(device.kind, dict(peers), device.ledger.copy(), remove_others, spared, held)
            return {id: Decision(work=work)}
        _hold_back(device, peers, device.changed)
        news = {key: _now(device, peers.get(key)) for key in device.changed}
        change = device.ledger.changes(news, spared)
        if change:
            return {id: Decision(work=Send(device.kind, news, change))}
        device.ledger.note(news)
        device.changed.clear()
        return {id: Decision()}


def _hold_back(device: Device, peers: Mapping[str, PeerConfig], candidates: Collection[str]) -> None:
    """Keep those of the peers that are new silent for a while."""
    for key in device.held.keys() - peers.keys():
        del device.held[key]
    for key in candidates:
        peer = peers.get(key)
        if peer is None or key in device.ledger or key in device.held:
            continue
        silence = silence_at_first(device.own_key, peer)
        if silence:
            device.held[key] = trio.current_time() + silence


def _now(device: Device, peer: PeerConfig | None) -> PeerConfig | None:
    return without_keepalive(peer) if peer is not None and peer.public_key in device.held else peer


class _DeviceReport(Report):
    """Shows the failures of a device, beside the problems of peers."""

    def __init__(self, desired: DesiredPeers, retries: Retries) -> None:
        super().__init__()
        self._desired = desired
        self._retries = retries

    async def failed(self, ctx: Access, id: str, error: Exception) -> None:  # noqa: ARG002
        """At first the process behind the device may not be ready, or the link be going."""
        if self._retries.failures(id) > 1:
            reason = reason_of(error) if isinstance(error, OSError) else str(error)
            await self._desired.problems.set(id, reason)

    async def settled(self, ctx: Access, id: str, decision: Decision[Any]) -> None:  # noqa: ARG002
        """The device has its peers."""
        if decision.work is None:
            await self._desired.problems.clear(id)

    async def gone(self, ctx: Access, id: str) -> None:  # noqa: ARG002
        """What failed may have failed because the link was going."""
        await self._desired.problems.clear(id)


class _DeviceDriver(Driver[DeviceWork, Mapping[str, Sent]]):
    """Requests to devices, of the kernel and in userspace; and looks at those with named endpoints."""

    _ctx: Access
    _addresses: MirrorView[AddressKey, tuple[AddressStatusSpec, ...]]

    def __init__(
        self,
        netns: str | None,
        desired: DesiredPeers,
        silence: Silence,
        boot_clock: Callable[[], float],
        wall_offset: WallOffset,
        prior: PriorState,
    ) -> None:
        self._netns = netns
        self._prior = prior
        self._desired = desired
        self._silence = silence
        self._boot_clock = boot_clock
        self._wall_offset = wall_offset
        # When links are to be shown again, and how much later at the soonest after that.
        self._refresh_at = math.inf
        self._refreshed_at = -math.inf

    @asynccontextmanager
    async def opened(self, ctx: Access, wake: Callable[[], None]) -> AsyncIterator[None]:
        """Mirrors of links and addresses, and the look-up of names."""
        self._ctx = ctx
        # The appliers report damage of the record.
        await trio.to_thread.run_sync(self._prior.journal.load)
        async with (
            open_shared_mirror(Links(), netns=self._netns, on_change=wake, aspect=LINKS_WITHOUT_QUEUES) as links,
            open_shared_mirror(Addresses(), netns=self._netns, on_change=wake) as addresses,
            trio.open_nursery() as nursery,
        ):
            self._desired.links, self._addresses = links, addresses
            nursery.start_soon(self._desired.names.run)
            yield
            nursery.cancel_scope.cancel()

    async def observe(self, look: Look) -> Collection[Hashable]:  # noqa: ARG002
        """Look after what devices do not notice by themselves."""
        if any(key not in self._addresses.items for key in self._addresses.take()):
            await self._forget_sources()
        for name, device in tuple(self._desired.devices.items()):
            await self._look_for_silence(name, device)
        for device in self._desired.devices.values():
            for key in [key for key, until in device.held.items() if until <= trio.current_time()]:
                del device.held[key]
                device.changed.add(key)
        if trio.current_time() >= self._refresh_at:
            self._refresh_at, self._refreshed_at = math.inf, trio.current_time()
            await ask_for_refresh(self._ctx)
        return {name for name, device in self._desired.devices.items() if device.is_unknown or device.changed}

    def due(self) -> float:
        """When to look for silent peers, show links again, see whether a device is on record, or begin tunnels."""
        now = trio.current_time()
        least, most = _RECORD_PAUSES
        records = (
            now + min(max(now - each.since, least), most)
            for each in self._desired.devices.values()
            if each.awaits_record
        )
        named = (device.look_at for name, device in self._desired.devices.items() if self._desired.named.get(name))
        held = (until for device in self._desired.devices.values() for until in device.held.values())
        return min((self._refresh_at, *named, *records, *held))

    def job(self, work: Mapping[str, DeviceWork]) -> Callable[[], Applied[Mapping[str, Sent]]]:
        """Send devices their peers."""
        return functools.partial(_send, self._netns, work)

    def found_nothing(self, result: Mapping[str, Sent]) -> bool:
        """Whether all devices had their peers."""
        return not any(isinstance(sent.work, Send) or sent.has_changed or sent.held for sent in result.values())

    async def applied(self, ctx: Access, result: Mapping[str, Sent]) -> None:  # noqa: ARG002
        """Note what devices know now."""
        for name, sent in result.items():
            device = self._desired.devices[name]
            device.changed.clear()
            device.is_unknown = sent.has_failed
            if sent.has_failed:
                continue
            if isinstance(sent.work, Compare):
                for key in sent.work.held - sent.held:
                    device.held.pop(key, None)
                device.ledger.note_all(with_held_back(sent.work.peers, sent.held))
            else:
                device.ledger.note(sent.work.peers)
            if sent.has_changed:
                self._refresh_soon(self._desired.peers_of(name))

    def _refresh_soon(self, peers: Collection[str]) -> None:
        pause = _REFRESH_PAUSE + len(peers) / _PEERS_PER_SECOND
        self._refresh_at = min(self._refresh_at, max(trio.current_time(), self._refreshed_at + pause))

    async def _forget_sources(self) -> None:
        """The node lost an address, which devices in userspace do not notice by themselves."""
        for name, device in self._desired.devices.items():
            if device.kind == USERSPACE_KIND:
                try:
                    await trio.to_thread.run_sync(UserspaceWireguard(self._netns).forget_sources, name)
                except OSError:
                    # It may be going; if it stays, it is read and sent everything soon.
                    device.is_unknown = True

    async def _look_for_silence(self, name: str, device: Device) -> None:
        """Have the names of peers that stay silent looked up again."""
        started = trio.current_time()
        named = self._desired.named.get(name)
        if not named or started < device.look_at:
            return
        backend = backend_for(device.kind, self._netns)
        try:
            state = await trio.to_thread.run_sync(backend.read, name)
        except OSError:
            # It may be going; if it stays, comparing it as a whole says what is wrong.
            state = None
        now = trio.current_time()
        device.look_at = now + max(self._silence.look_interval, _REST * (now - started))
        before, device.seen = device.seen, {}
        handshakes, device.handshakes = device.handshakes, {}
        wall_offset = self._wall_offset.read()
        peers = {} if state is None else state.peers
        for key in named:
            public_key = split_wireguard_peer_id(key.removeprefix(INLINE))[1]
            peer = peers.get(public_key)
            if peer is None:
                continue
            device.seen[public_key] = peer
            handshake = handshakes.get(public_key, Handshake())
            reported = None if peer.last_handshake_time is None else peer.last_handshake_time.timestamp()
            handshake = handshake.observed(reported, self._boot_clock(), wall_offset)
            device.handshakes[public_key] = handshake
            if is_silent(
                peer,
                before.get(public_key),
                known_for=self._desired.names.known_for(key, now),
                since_handshake=math.inf if handshake.at is None else self._boot_clock() - handshake.at,
                silence=self._silence,
            ):
                self._desired.names.heard_nothing(key, peer.config.endpoint)


def _send(netns: str | None, work: Mapping[str, DeviceWork]) -> Applied[Mapping[str, Sent]]:
    """In a worker thread."""
    sent: dict[str, Sent] = {}
    failed: dict[str, Exception] = {}
    for name, each in work.items():
        try:
            sent[name] = _send_to(netns, name, each)
        except OSError as error:
            sent[name] = Sent(each, has_failed=True)
            failed[name] = error
    return Applied(result=sent, failed=failed)


def _send_to(netns: str | None, name: str, work: DeviceWork) -> Sent:
    """Raises OSError."""
    backend = backend_for(work.kind, netns)
    held = frozenset[str]()
    if isinstance(work, Send):
        change = work.change
    else:
        device = backend.read(name)
        if device is None:
            raise OSError(errno.ENXIO, "the WireGuard device does not answer")
        held = held_back(work.held, device)
        peers = with_held_back(work.peers, held)
        change = work.ledger.differences(peers, device, remove_others=work.remove_others, spared=work.spared)
    if change:
        backend.change(name, change)
    return Sent(work, has_changed=bool(change), held=held)
