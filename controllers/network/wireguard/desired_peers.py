"""Which peers each WireGuard device should have: from resources and from the links' own specs, names looked up.

The items of the reconciler are the devices, by the names of their links. A change of a peer marks it as changed for its
device. Peers need no finalizers: the id of one that is gone says what to remove.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

import attrs
import trio

from nodespan.controllers.common.problems import Problems
from nodespan.controllers.network.wireguard.allowed_networks import AllowedNetworks
from nodespan.controllers.network.wireguard.endpoint_names import EndpointNames, Lookup
from nodespan.controllers.network.wireguard.ledger import PeerLedger
from nodespan.kernel.link_lookup import LinkLookup
from nodespan.kernel.links import KernelLink, is_of_kind
from nodespan.kernel.shared_mirror import MirrorView
from nodespan.kernel.wireguard.device import PeerConfig, PeerState, canonical_peer, is_numeric, parse_endpoint
from nodespan.kernel.wireguard.handshake import Handshake
from nodespan.kernel.wireguard.keys import public_key_of
from nodespan.resources.network import (
    ConfigLayer,
    LinkSpec,
    WireguardPeer,
    WireguardPeerSpec,
    WireguardSpec,
    split_wireguard_peer_id,
    wireguard_peer_id,
)
from nodespan.resources.network.problem import Severity
from nodespan.runtime.controller import Access, Collected, Desired, Retries
from nodespan.runtime.resource import Resource

# Marks a peer of a link's own spec where peers of both sources are kept.
INLINE = "inline:"


@attrs.define
class Device:
    """A device, by the index of its link, and what is going on with it."""

    index: int
    kind: str
    since: float
    ledger: PeerLedger = attrs.field(factory=PeerLedger)
    # Keys of peers that changed since they were sent to the device.
    changed: set[str] = attrs.field(factory=set)
    # Whether it is to be read and compared as a whole.
    is_unknown: bool = True
    # When to look for silent peers, and what was seen of those with names the last time.
    look_at: float = 0.0
    seen: dict[str, PeerState] = attrs.field(factory=dict)
    handshakes: dict[str, Handshake] = attrs.field(factory=dict)
    # Whether it is not on record yet what the device was before the agent.
    awaits_record: bool = False
    # Its own public key, "" if unknown.
    own_key: str = ""
    # New peers that have no keepalive yet, and until when.
    held: dict[str, float] = attrs.field(factory=dict)
    # Whether it is a link of the configuration. What else desires links, as the mesh does, wants no peers of others.
    is_configured: bool = False


class DesiredPeers(Desired):
    """The devices that there are, and the peers that each should have."""

    links: MirrorView[int, KernelLink]
    problems: Problems

    def __init__(
        self, retries: Retries, wake: Callable[[], None], *, lookup: Lookup | None = None, pause: float
    ) -> None:
        self._retries = retries
        self._wake = wake
        self.names = EndpointNames(self._name_changed, lookup=lookup, pause=pause)
        self.devices: dict[str, Device] = {}
        # The keys of the endpoints that are names, by link.
        self.named: defaultdict[str, set[str]] = defaultdict(set)
        self._touched_peers: set[str] = set()
        self._touched_links: set[str] = set()
        # By link and public key, those of resources and those of the links' own specs.
        self._peers: defaultdict[str, dict[str, PeerConfig]] = defaultdict(dict)
        self._inline: dict[str, dict[str, PeerConfig]] = {}
        self._inline_ids: dict[str, set[str]] = {}
        self._own_keys: dict[str, str] = {}
        self._key_of: dict[str, str] = {}
        # By link: which of its peers gets a network that several allow, and the peers with the networks they get.
        self._allowed: defaultdict[str, AllowedNetworks] = defaultdict(AllowedNetworks)
        self._granted: defaultdict[str, dict[str, PeerConfig]] = defaultdict(dict)
        # The problems of peers that do not get all their networks, by the ids of the peers.
        self._losers: set[str] = set()

    def touch_peer(self, id: str) -> None:
        """A peer's resource changed."""
        self._touched_peers.add(id)
        self._wake()

    def touch_link(self, name: str) -> None:
        """A link is desired otherwise, or no more."""
        self._touched_links.add(name)
        self._wake()

    # What the reconciler asks for.

    async def begin(self, ctx: Access) -> Iterable[str]:
        """Everything is looked at; devices are found once the mirror of links is open."""
        self._touched_peers.update(resource.id for resource in ctx.list(WireguardPeerSpec))
        self._touched_links.update(resource.id for resource in ctx.list(LinkSpec))
        self.devices.clear()
        self.problems = Problems(ctx, WireguardPeerSpec)
        return ()

    async def collect(self, ctx: Access, touched: frozenset[str]) -> Collected:
        """Take in peers and links, and find the devices."""
        await self._take_in_peers(ctx)
        links_changed = bool(self._touched_links)
        await self._take_in_links(ctx)
        before = dict(self.devices)
        if self.links.take() or links_changed:
            self._find_devices(ctx)
        for name, device in self.devices.items():
            if device.changed:
                self._retries.try_now(name)
        return Collected(
            dirty=touched | {name for name, device in self.devices.items() if device.changed or device.is_unknown},
            changed=frozenset(name for name, device in self.devices.items() if before.get(name) is not device),
            gone=frozenset(before.keys() - self.devices.keys()),
        )

    def ids(self) -> Iterable[str]:
        """The devices."""
        return tuple(self.devices)

    def __contains__(self, id: str) -> bool:
        return id in self.devices

    # Peers.

    async def _take_in_peers(self, ctx: Access) -> None:
        touched, self._touched_peers = self._touched_peers, set()
        for id in touched:
            link_name, _ = split_wireguard_peer_id(id)
            resource: Resource[WireguardPeer] | None = ctx.find(WireguardPeerSpec, id)
            before = self._key_of.pop(id, None)
            if before is not None:
                self._peers[link_name].pop(before, None)
                await self._grant(link_name, before)
            if resource is None or resource.metadata.is_tearing_down:
                self._forget_name(id)
                await self.problems.clear(id)
                continue
            peer = await self._canonical(id, id, resource.spec)
            if peer is not None:
                self._key_of[id] = peer.public_key
                self._peers[link_name][peer.public_key] = peer
                await self._grant(link_name, peer.public_key)

    async def _take_in_links(self, ctx: Access) -> None:
        touched, self._touched_links = self._touched_links, set()
        for name in touched:
            link = ctx.find(LinkSpec, name)
            inline: dict[str, PeerConfig] = {}
            ids: set[str] = set()
            self._own_keys.pop(name, None)
            if link is not None and link.spec.wireguard is not None and not link.metadata.is_tearing_down:
                own = self._own_keys[name] = _own_key(link.spec.wireguard)
                for each in link.spec.wireguard.peers:
                    id = wireguard_peer_id(name, each.public_key)
                    ids.add(id)
                    peer = await self._canonical(INLINE + id, id, each, own=own)
                    if peer is not None:
                        inline[peer.public_key] = peer
            for id in self._inline_ids.pop(name, set()) - ids:
                self._forget_name(INLINE + id)
                if ctx.find(WireguardPeerSpec, id) is None:
                    await self.problems.clear(id)
            if ids:
                self._inline_ids[name] = ids
            before = self._inline.pop(name, {})
            if inline:
                self._inline[name] = inline
            if tuple(before.items()) != tuple(inline.items()):
                for key in before.keys() | inline.keys():
                    await self._grant(name, key)

    def _mark(self, link_name: str, key: str) -> None:
        device = self.devices.get(link_name)
        if device is not None:
            device.changed.add(key)

    async def _grant(self, link_name: str, key: str) -> None:
        """A peer changed: find out which networks it and the others get, and report those that do not get all."""
        inline, peers = self._inline.get(link_name, {}), self._peers[link_name]
        peer = peers.get(key) or inline.get(key)
        rank = (1, 0, key) if key in peers else (0, tuple(inline).index(key) if key in inline else 0, "")
        allowed, granted = self._allowed[link_name], self._granted[link_name]
        concerned = allowed.assign(key, rank, peer.allowed_ips if peer is not None else ())
        if peer is None:
            granted.pop(key, None)
            self._losers.discard(wireguard_peer_id(link_name, key))
            self._mark(link_name, key)
        for each in concerned if peer is None else {key, *concerned}:
            raw = peers.get(each) or inline.get(each)
            if raw is None:
                # It is gone too, and its own turn comes.
                continue
            config = attrs.evolve(raw, allowed_ips=allowed.granted(each))
            if granted.get(each) != config:
                granted[each] = config
                self._mark(link_name, each)
            await self._report_lost(wireguard_peer_id(link_name, each), allowed.lost(each))

    async def _report_lost(self, id: str, lost: Mapping[str, str]) -> None:
        if lost:
            self._losers.add(id)
            texts = [f"{network} goes to the peer {owner}, which allows it too" for network, owner in lost.items()]
            await self.problems.set(id, "; ".join(texts), severity=Severity.WARNING)
        elif id in self._losers:
            self._losers.discard(id)
            await self.problems.clear(id)

    def _name_changed(self, key: str) -> None:
        id = key.removeprefix(INLINE)
        if key == id:
            self._touched_peers.add(id)
        else:
            self._touched_links.add(split_wireguard_peer_id(id)[0])
        self._wake()

    def _forget_name(self, key: str) -> None:
        if key in self.names:
            self.names.forget(key)
            self.named[link_of(key)].discard(key)

    def peers_of(self, link_name: str) -> Mapping[str, PeerConfig]:
        """The peers that a device should have, by public key."""
        return self._granted.get(link_name, {})

    async def _canonical(self, key: str, id: str, peer: WireguardPeer, *, own: str = "") -> PeerConfig | None:
        """The peer as it is sent to a device; None for one that every device would refuse, which is shown."""
        problem = ""
        try:
            endpoint = self._numeric(key, peer.endpoint)
        except ValueError as error:
            endpoint, problem = "", f"endpoint {peer.endpoint}: {error}"
        try:
            canonical = canonical_peer(peer, endpoint)
        except ValueError as error:
            await self.problems.set(id, f"this peer is left out: {error}")
            return None
        if canonical.public_key == own:
            # Devices leave it out without a word.
            await self.problems.set(id, "this peer is left out: the key is that of the link itself")
            return None
        if key in self.names:
            problem = self.names.problem(key)
        if problem:
            await self.problems.set(id, problem)
        else:
            await self.problems.clear(id)
        return canonical

    def _numeric(self, key: str, endpoint: str) -> str:
        """The endpoint with a numeric address, "" as long as there is none. Raises ValueError for what is none."""
        if endpoint and not is_numeric(parse_endpoint(endpoint)[0]):
            self.names.want(key, endpoint)
            self.named[link_of(key)].add(key)
            return self.names.address(key)
        self._forget_name(key)
        return endpoint

    def _find_devices(self, ctx: Access) -> None:
        lookup = LinkLookup(self.links.items)
        found: dict[str, KernelLink] = {}
        configured: set[str] = set()
        for resource in ctx.list(LinkSpec):
            spec = resource.spec
            if spec.wireguard is None or resource.metadata.is_tearing_down:
                continue
            link = lookup.real(spec.name)
            if link is not None and is_of_kind(link, "wireguard"):
                found[spec.name] = link
                if spec.layer is ConfigLayer.CONFIGURATION:
                    configured.add(spec.name)
        for name in self.devices.keys() - found.keys():
            del self.devices[name]
        for name, link in found.items():
            known = self.devices.get(name)
            if known is None or known.index != link.status.index:
                self.devices[name] = Device(link.status.index, link.status.kind, trio.current_time())
            self.devices[name].is_configured = name in configured
            self.devices[name].own_key = self._own_keys.get(name, "")


def _own_key(settings: WireguardSpec) -> str:
    """The public key of a link, "" for one without a private key, or with a bad one."""
    try:
        return public_key_of(settings.private_key) if settings.private_key else ""
    except ValueError:
        return ""


def link_of(key: str) -> str:
    """The link that an endpoint's key is of."""
    return split_wireguard_peer_id(key.removeprefix(INLINE))[0]
