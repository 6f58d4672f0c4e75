"""network.WireguardPeerController: tells WireGuard devices of their peers.

What changes at about the same time is one request to a device, and a peer that changes is told alone, however many
there are. Only devices of wanted WireGuard links are touched. Peers need no finalizers: the id of one that is gone says
what to remove.

Endpoints that are names are looked up beside all of this. Devices with such peers are looked at every few seconds, for
one that stays silent.
"""

import datetime
import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import attrs
import trio

from nodespan.controllers.common.link_refresh import ask_for_refresh
from nodespan.controllers.common.problems import Problems, reason_of
from nodespan.controllers.network.wireguard.endpoint_names import EndpointNames, Lookup, Silence, is_silent
from nodespan.controllers.network.wireguard.ledger import PeerLedger
from nodespan.kernel.addresses import Addresses
from nodespan.kernel.link_lookup import LinkLookup
from nodespan.kernel.links import KernelLink, PlainLinks, is_of_kind
from nodespan.kernel.mirror import open_mirror
from nodespan.kernel.shared_mirror import MirrorView, open_shared_mirror
from nodespan.kernel.wireguard import backend_for
from nodespan.kernel.wireguard.device import (
    DeviceChange,
    DeviceState,
    PeerConfig,
    PeerState,
    WireguardBackend,
    canonical_peer,
    is_numeric,
    parse_endpoint,
)
from nodespan.kernel.wireguard.keys import public_key_of
from nodespan.kernel.wireguard.status import USERSPACE_KIND
from nodespan.kernel.wireguard.uapi import UserspaceWireguard
from nodespan.resources.network import (
    LinkRefresh,
    LinkSpec,
    NetworkProblem,
    WireguardPeer,
    WireguardPeerSpec,
    WireguardSpec,
    split_wireguard_peer_id,
    wireguard_peer_id,
)
from nodespan.runtime.backoff import Backoff, Exponential
from nodespan.runtime.controller import QueueContext, QueueController, mapped, primary, shared
from nodespan.runtime.controller.reconciler import FULL_INTERVAL
from nodespan.runtime.resource import Metadata, Pointer, Resource

# After a restart, so long may peers of a device be unknown to all who want peers before they are removed; in seconds.
STALE_AFTER = 300.0
# Changes that come within this time are one request.
_GATHER = 0.01
_DELAYS = Exponential(base=0.2, cap=FULL_INTERVAL)
# Links are asked to be shown anew no more often than this, in seconds; a device of many peers takes longer to read.
_REFRESH_PAUSE = 1.0
_PEERS_PER_SECOND = 1000
# A device with many peers is not looked at for more than this part of the time.
_REST = 20.0
# Marks a peer of a link's own spec where peers of both sources are kept.
_INLINE = "inline:"


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


@attrs.define
class _Device:
    """A device, by the index of its link, and what is going on with it."""

    index: int
    kind: str
    since: float
    ledger: PeerLedger = attrs.field(factory=PeerLedger)
    # Keys of peers that changed since the device was told of them.
    changed: set[str] = attrs.field(factory=set)
    # When it is to be read and compared as a whole, and how much later if that fails.
    compare_at: float = 0.0
    backoff: Backoff = attrs.field(factory=lambda: Backoff(exponential=_DELAYS))
    # When to look for silent peers, and what was seen of those with names the last time.
    look_at: float = 0.0
    seen: dict[str, PeerState] = attrs.field(factory=dict)


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
        wall_clock: Callable[[], datetime.datetime] = _now,
    ) -> None:
        self._netns = netns
        self._stale_after = stale_after
        self._silence = silence or Silence()
        self._wall_clock = wall_clock
        self._names = EndpointNames(self._name_changed, lookup=lookup, pause=self._silence.pause)
        self._news = trio.Event()
        self._touched_peers: set[str] = set()
        self._touched_links: set[str] = set()
        self._devices: dict[str, _Device] = {}
        # By link and public key, those of resources and those of the links' own specs.
        self._peers: defaultdict[str, dict[str, PeerConfig]] = defaultdict(dict)
        self._inline: dict[str, dict[str, PeerConfig]] = {}
        self._inline_ids: dict[str, set[str]] = {}
        # The keys of the endpoints that are names, by link.
        self._named: defaultdict[str, set[str]] = defaultdict(set)
        self._key_of: dict[str, str] = {}
        # When links are to be shown anew, and how much later at the soonest again.
        self._refresh_at = math.inf
        self._refreshed_at = -math.inf

    async def reconcile(self, ctx: QueueContext, item: Pointer[Any]) -> None:  # noqa: ARG002
        """Note that the peer changed; `run` takes it up together with others."""
        self._touched_peers.add(item.id)
        self._news.set()

    def map_input(self, ctx: QueueContext, changed: Metadata) -> Iterable[Pointer[Any]]:  # noqa: ARG002
        """A link that is wanted otherwise, or no more, is taken up by `run` too."""
        self._touched_links.add(changed.id)
        self._news.set()
        return ()

    async def run(self, ctx: QueueContext) -> None:
        """Follow specs and kernel."""
        self._touched_peers.update(resource.id for resource in ctx.list(WireguardPeerSpec))
        self._touched_links.update(resource.id for resource in ctx.list(LinkSpec))
        self._devices.clear()
        problems = Problems(ctx, WireguardPeerSpec)
        async with (
            open_shared_mirror(PlainLinks(), netns=self._netns, on_change=self._wake) as links,
            open_mirror(Addresses(), netns=self._netns, on_change=self._wake) as addresses,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(self._names.run)
            while True:
                await self._take_in_peers(ctx, problems)
                await self._take_in_links(ctx, problems)
                self._find_devices(ctx, links)
                if any(key not in addresses.items for key in addresses.take()):
                    await self._forget_sources()
                for name, device in tuple(self._devices.items()):
                    await self._tell(name, device, problems)
                    await self._look_for_silence(name, device)
                if trio.current_time() >= self._refresh_at:
                    self._refresh_at, self._refreshed_at = math.inf, trio.current_time()
                    await ask_for_refresh(ctx)
                await self._wait()

    def _wake(self) -> None:
        self._news.set()

    async def _wait(self) -> None:
        times = [self._refresh_at]
        for name, device in self._devices.items():
            times += [device.compare_at, device.look_at if self._named.get(name) else math.inf]
        with trio.move_on_at(min(times)):
            await self._news.wait()
            await trio.sleep(_GATHER)
        self._news = trio.Event()

    # What is wanted.

    async def _take_in_peers(self, ctx: QueueContext, problems: Problems) -> None:
        touched, self._touched_peers = self._touched_peers, set()
        for id in touched:
            link_name, _ = split_wireguard_peer_id(id)
            resource: Resource[WireguardPeer] | None = ctx.find(WireguardPeerSpec, id)
            before = self._key_of.pop(id, None)
            if before is not None:
                self._peers[link_name].pop(before, None)
                self._mark(link_name, before)
            if resource is None or resource.metadata.is_tearing_down:
                self._forget_name(id)
                await problems.clear(id)
                continue
            peer = await self._canonical(id, id, resource.spec, problems)
            if peer is not None:
                self._key_of[id] = peer.public_key
                self._peers[link_name][peer.public_key] = peer
                self._mark(link_name, peer.public_key)

    async def _take_in_links(self, ctx: QueueContext, problems: Problems) -> None:
        touched, self._touched_links = self._touched_links, set()
        for name in touched:
            link = ctx.find(LinkSpec, name)
            inline: dict[str, PeerConfig] = {}
            ids: set[str] = set()
            if link is not None and link.spec.wireguard is not None and not link.metadata.is_tearing_down:
                own = _own_key(link.spec.wireguard)
                for each in link.spec.wireguard.peers:
                    id = wireguard_peer_id(name, each.public_key)
                    ids.add(id)
                    peer = await self._canonical(_INLINE + id, id, each, problems, own=own)
                    if peer is not None:
                        inline[peer.public_key] = peer
            for id in self._inline_ids.pop(name, set()) - ids:
                self._forget_name(_INLINE + id)
                if ctx.find(WireguardPeerSpec, id) is None:
                    await problems.clear(id)
            if ids:
                self._inline_ids[name] = ids
            before = self._inline.pop(name, {})
            if inline:
                self._inline[name] = inline
            for key in {key for key in before.keys() | inline.keys() if before.get(key) != inline.get(key)}:
                self._mark(name, key)

    def _mark(self, link_name: str, key: str) -> None:
        device = self._devices.get(link_name)
        if device is not None:
            device.changed.add(key)

    def _name_changed(self, key: str) -> None:
        id = key.removeprefix(_INLINE)
        if key == id:
            self._touched_peers.add(id)
        else:
            self._touched_links.add(split_wireguard_peer_id(id)[0])
        self._news.set()

    def _forget_name(self, key: str) -> None:
        if key in self._names:
            self._names.forget(key)
            self._named[_link_of(key)].discard(key)

    def _wanted(self, link_name: str) -> Mapping[str, PeerConfig]:
        peers = self._peers.get(link_name, {})
        inline = self._inline.get(link_name)
        return {**inline, **peers} if inline else peers

    async def _canonical(
        self, key: str, id: str, peer: WireguardPeer, problems: Problems, *, own: str = ""
    ) -> PeerConfig | None:
        """The peer as a device is told of it; None for one that no device would take, which is said."""
        problem = ""
        try:
            endpoint = self._numeric(key, peer.endpoint)
        except ValueError as error:
            endpoint, problem = "", f"endpoint {peer.endpoint}: {error}"
        try:
            canonical = canonical_peer(peer, endpoint)
        except ValueError as error:
            await problems.set(id, f"this peer is left out: {error}")
            return None
        if canonical.public_key == own:
            # Devices leave it out without a word.
            await problems.set(id, "this peer is left out: the key is that of the link itself")
            return None
        if key in self._names:
            problem = self._names.problem(key)
        if problem:
            await problems.set(id, problem)
        else:
            await problems.clear(id)
        return canonical

    def _numeric(self, key: str, endpoint: str) -> str:
        """The endpoint with a numeric address, "" as long as there is none. Raises ValueError for what is none."""
        if endpoint and not is_numeric(parse_endpoint(endpoint)[0]):
            self._names.want(key, endpoint)
            self._named[_link_of(key)].add(key)
            return self._names.address(key)
        self._forget_name(key)
        return endpoint

    # What is there.

    def _find_devices(self, ctx: QueueContext, links: MirrorView[int, KernelLink]) -> None:
        links.take()
        lookup = LinkLookup(links.items)
        found: dict[str, KernelLink] = {}
        for resource in ctx.list(LinkSpec):
            spec = resource.spec
            if spec.wireguard is None or resource.metadata.is_tearing_down:
                continue
            link = lookup.real(spec.name)
            if link is not None and is_of_kind(link, "wireguard"):
                found[spec.name] = link
        for name in self._devices.keys() - found.keys():
            del self._devices[name]
        for name, link in found.items():
            known = self._devices.get(name)
            if known is None or known.index != link.status.index:
                self._devices[name] = _Device(link.status.index, link.status.kind, trio.current_time())

    async def _forget_sources(self) -> None:
        """The node lost an address, which devices in userspace do not notice by themselves."""
        for name, device in self._devices.items():
            if device.kind == USERSPACE_KIND:
                try:
                    await trio.to_thread.run_sync(UserspaceWireguard(self._netns).forget_sources, name)
                except OSError:
                    # It may be going; if it stays, it is read and told of everything soon.
                    device.compare_at = trio.current_time()

    # Bringing the two together.

    async def _tell(self, name: str, device: _Device, problems: Problems) -> None:
        now = trio.current_time()
        wanted = self._wanted(name)
        changed, device.changed = device.changed, set()
        backend = backend_for(device.kind, self._netns)
        try:
            if now >= device.compare_at:
                remove_others = now - device.since >= self._stale_after
                snapshot = dict(wanted)
                if await trio.to_thread.run_sync(_compare, backend, name, device.ledger, snapshot, remove_others):
                    self._refresh_soon(snapshot)
                device.ledger.note_all(snapshot)
                device.compare_at = trio.current_time() + FULL_INTERVAL
            elif changed:
                news = {key: wanted.get(key) for key in changed}
                change = device.ledger.changes(news)
                if change:
                    await trio.to_thread.run_sync(backend.change, name, change)
                    self._refresh_soon(wanted)
                device.ledger.note(news)
        except OSError as error:
            device.compare_at = trio.current_time() + device.backoff.next()
            if device.backoff.failures > 1:
                # At first the process behind the device may not be ready, or the link be going.
                await problems.set(name, reason_of(error))
        else:
            device.backoff.reset()
            await problems.clear(name)

    def _refresh_soon(self, peers: Collection[str]) -> None:
        pause = _REFRESH_PAUSE + len(peers) / _PEERS_PER_SECOND
        self._refresh_at = min(self._refresh_at, max(trio.current_time(), self._refreshed_at + pause))

    async def _look_for_silence(self, name: str, device: _Device) -> None:
        """Have the names of peers that stay silent looked up again."""
        started = trio.current_time()
        named = self._named.get(name)
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
        peers = {} if state is None else state.peers
        for key in named:
            public_key = split_wireguard_peer_id(key.removeprefix(_INLINE))[1]
            peer = peers.get(public_key)
            if peer is None:
                continue
            device.seen[public_key] = peer
            known_for = self._names.known_for(key, now)
            if is_silent(
                peer, before.get(public_key), known_for=known_for, now=self._wall_clock(), silence=self._silence
            ):
                self._names.heard_nothing(key, peer.config.endpoint)


def _own_key(settings: WireguardSpec) -> str:
    """The public key of a link, "" for one without a private key, or with a bad one."""
    try:
        return public_key_of(settings.private_key) if settings.private_key else ""
    except ValueError:
        return ""


def _link_of(key: str) -> str:
    return split_wireguard_peer_id(key.removeprefix(_INLINE))[0]


def _compare(
    backend: WireguardBackend,
    name: str,
    ledger: PeerLedger,
    wanted: Mapping[str, PeerConfig],
    remove_others: bool,  # positional, for it goes through a thread call
) -> bool:
    """In a worker thread: read the device and tell it what differs; returns whether anything did."""
    device: DeviceState | None = backend.read(name)
    if device is None:
        raise OSError(6, "the WireGuard device does not answer")
    change: DeviceChange = ledger.differences(wanted, device, remove_others=remove_others)
    if change:
        backend.change(name, change)
    return bool(change)
