"""network.WireguardPeerController: tells WireGuard devices of their peers.

What changes at about the same time is one request to a device, and a peer that changes is told alone, however many
there are. Only devices of wanted WireGuard links are touched. Peers need no finalizers: the id of one that is gone says
what to remove.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import attrs
import trio

from controllers.network.applier import RETRY_INTERVAL
from controllers.network.kernel.addresses import Addresses
from controllers.network.kernel.links import KernelLink, Links
from controllers.network.kernel.mirror import Mirror, open_mirror
from controllers.network.kernel.wireguard import backend_for
from controllers.network.kernel.wireguard.device import (
    DeviceChange,
    DeviceState,
    PeerConfig,
    WireguardBackend,
    canonical_peer,
    format_endpoint,
    is_numeric,
    parse_endpoint,
)
from controllers.network.kernel.wireguard.status import USERSPACE_KIND
from controllers.network.kernel.wireguard.uapi import UserspaceWireguard
from controllers.network.link_lookup import LinkLookup
from controllers.network.link_plan import is_of_kind
from controllers.network.problems import Problems, reason_of
from controllers.network.wireguard_peers import PeerLedger
from resources.network import (
    LinkSpec,
    NetworkProblem,
    WireguardPeer,
    WireguardPeerSpec,
    split_wireguard_peer_id,
    wireguard_peer_id,
)
from runtime.controller import QueueContext, QueueController, mapped, primary, shared
from runtime.resource import Metadata, Pointer, Resource

# After a restart, so long may peers of a device be unknown to all who want peers before they are removed; in seconds.
STALE_AFTER = 300.0
# Changes that come within this time are one request.
_GATHER = 0.01
_FIRST_DELAY = 0.2
_LOOKUP_PATIENCE = 5.0


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
    delay: float = _FIRST_DELAY


class WireguardPeerController(QueueController):
    """Peers come from `WireguardPeerSpec` resources and from the links' own specs, of which the former win."""

    name = "network.WireguardPeerController"
    inputs = (primary(WireguardPeerSpec), mapped(LinkSpec))
    outputs = (shared(NetworkProblem),)

    def __init__(self, *, netns: str | None = None, stale_after: float = STALE_AFTER) -> None:
        self._netns = netns
        self._stale_after = stale_after
        self._news = trio.Event()
        self._touched_peers: set[str] = set()
        self._touched_links: set[str] = set()
        self._devices: dict[str, _Device] = {}
        # By link and public key, those of resources and those of the links' own specs.
        self._peers: defaultdict[str, dict[str, PeerConfig]] = defaultdict(dict)
        self._inline: dict[str, dict[str, PeerConfig]] = {}
        self._key_of: dict[str, str] = {}
        # Peers whose endpoint is a name that could not be looked up.
        self._unresolved: set[str] = set()

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
            open_mirror(Links(), netns=self._netns, on_change=self._wake) as links,
            open_mirror(Addresses(), netns=self._netns, on_change=self._wake) as addresses,
        ):
            while True:
                await self._take_in_peers(ctx, problems)
                await self._take_in_links(ctx, problems)
                self._find_devices(ctx, links)
                if any(key not in addresses.items for key in addresses.take()):
                    await self._forget_sources()
                for name, device in tuple(self._devices.items()):
                    await self._tell(name, device, problems)
                await self._wait()

    def _wake(self) -> None:
        self._news.set()

    async def _wait(self) -> None:
        due = min((device.compare_at for device in self._devices.values()), default=math.inf)
        with trio.move_on_at(due):
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
            self._unresolved.discard(id)
            if resource is None or resource.metadata.is_tearing_down:
                await problems.clear(id)
                continue
            peer = await self._canonical(id, resource.spec, problems)
            if peer is not None:
                self._key_of[id] = peer.public_key
                self._peers[link_name][peer.public_key] = peer
                self._mark(link_name, peer.public_key)

    async def _take_in_links(self, ctx: QueueContext, problems: Problems) -> None:
        touched, self._touched_links = self._touched_links, set()
        for name in touched:
            link = ctx.find(LinkSpec, name)
            inline: dict[str, PeerConfig] = {}
            if link is not None and link.spec.wireguard is not None and not link.metadata.is_tearing_down:
                for each in link.spec.wireguard.peers:
                    peer = await self._canonical(wireguard_peer_id(name, each.public_key), each, problems)
                    if peer is not None:
                        inline[peer.public_key] = peer
            before = self._inline.pop(name, {})
            if inline:
                self._inline[name] = inline
            for key in {key for key in before.keys() | inline.keys() if before.get(key) != inline.get(key)}:
                self._mark(name, key)

    def _mark(self, link_name: str, key: str) -> None:
        device = self._devices.get(link_name)
        if device is not None:
            device.changed.add(key)

    def _look_up_again(self, link_name: str) -> None:
        for id in self._unresolved:
            if split_wireguard_peer_id(id)[0] == link_name:
                self._touched_peers.add(id)
                self._touched_links.add(link_name)
                self._news.set()

    def _wanted(self, link_name: str) -> Mapping[str, PeerConfig]:
        peers = self._peers.get(link_name, {})
        inline = self._inline.get(link_name)
        return {**inline, **peers} if inline else peers

    async def _canonical(self, id: str, peer: WireguardPeer, problems: Problems) -> PeerConfig | None:
        """The peer as a device is told of it; None for one that no device would take, which is said."""
        try:
            endpoint = await _numeric(peer.endpoint)
        except (OSError, ValueError) as error:
            await problems.set(id, f"endpoint {peer.endpoint}: {error}")
            self._unresolved.add(id)
            return _without_endpoint(peer)
        self._unresolved.discard(id)
        try:
            canonical = canonical_peer(peer, endpoint)
        except ValueError as error:
            await problems.set(id, f"this peer is left out: {error}")
            return None
        await problems.clear(id)
        return canonical

    # What is there.

    def _find_devices(self, ctx: QueueContext, links: Mirror[int, KernelLink]) -> None:
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
                await trio.to_thread.run_sync(_compare, backend, name, device.ledger, snapshot, remove_others)
                device.ledger.note_all(snapshot)
                self._look_up_again(name)
                device.compare_at = trio.current_time() + RETRY_INTERVAL
            elif changed:
                news = {key: wanted.get(key) for key in changed}
                change = device.ledger.changes(news)
                if change:
                    await trio.to_thread.run_sync(backend.change, name, change)
                device.ledger.note(news)
        except OSError as error:
            device.compare_at = trio.current_time() + device.delay
            if device.delay > _FIRST_DELAY:
                # At first the process behind the device may not be ready, or the link be going.
                await problems.set(name, reason_of(error))
            device.delay = min(device.delay * 2, RETRY_INTERVAL)
        else:
            device.delay = _FIRST_DELAY
            await problems.clear(name)


def _compare(
    backend: WireguardBackend,
    name: str,
    ledger: PeerLedger,
    wanted: Mapping[str, PeerConfig],
    remove_others: bool,  # positional, for it goes through a thread call
) -> None:
    """In a worker thread: read the device and tell it what differs."""
    device: DeviceState | None = backend.read(name)
    if device is None:
        raise OSError(6, "the WireGuard device does not answer")
    change: DeviceChange = ledger.differences(wanted, device, remove_others=remove_others)
    if change:
        backend.change(name, change)


async def _numeric(endpoint: str) -> str:
    """The endpoint with a numeric address, looked up if need be. Raises OSError, ValueError."""
    if not endpoint:
        return ""
    host, port = parse_endpoint(endpoint)
    if is_numeric(host):
        return endpoint
    with trio.move_on_after(_LOOKUP_PATIENCE):
        found = await trio.socket.getaddrinfo(host, port, type=trio.socket.SOCK_DGRAM)
        return format_endpoint(str(found[0][4][0]), port)
    raise TimeoutError("looking up its name takes too long")


def _without_endpoint(peer: WireguardPeer) -> PeerConfig | None:
    try:
        return canonical_peer(peer, "")
    except ValueError:
        return None
