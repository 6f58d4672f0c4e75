"""The cost of a change in a large mesh, from an affiliate to the desired peer of the WireGuard link."""

import gc
import time
from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv4Address, IPv6Address

import trio
import trio.testing

from bench.measure import Figure, compare_runs
from nodespan.controllers.kubespan.peer import PeerController
from nodespan.controllers.kubespan.peer_spec import PeerSpecController
from nodespan.controllers.kubespan.peer_state import ObservedPeer
from nodespan.controllers.kubespan.peer_status import PeerStatusController
from nodespan.kernel.net_counts import Traffic
from nodespan.resources.cluster import Affiliate, AffiliateSpec, Identity, IdentitySpec, KubeSpanAffiliate
from nodespan.resources.kubespan import (
    KUBESPAN_CONFIG_ID,
    LOCAL,
    KubeSpanConfig,
    KubeSpanConfigSpec,
    KubeSpanIdentity,
    KubeSpanIdentitySpec,
    KubeSpanPeerSpec,
    KubeSpanPeerSpecSpec,
    KubeSpanPeerStatus,
)
from nodespan.resources.network import WireguardPeerSpec
from nodespan.runtime.engine import Engine
from nodespan.runtime.resource import Resource
from nodespan.runtime.state import MemoryState

MANY = 10_000


def affiliate(number: int) -> Resource[AffiliateSpec]:
    """One node of a mesh, with two addresses and a pod network."""
    name = f"node-{number:06}"
    address = IPv4Address(0x0A00_0000 + number)
    spec = AffiliateSpec(
        node_id=name,
        nodename=name,
        addresses=(str(address),),
        kubespan=KubeSpanAffiliate(
            public_key=f"key-{number:06}",
            address=str(IPv6Address((0xFD7F_175A_B97C_5602 << 64) + number)),
            additional_addresses=(f"{IPv4Address(0x1000_0000 + (number << 8))}/24",),
            endpoints=(f"{address}:51820",),
        ),
    )
    return Affiliate.new(name, spec)


class SettledDevice:
    """Reports every peer as healthy, and has each answer once, as it comes up."""

    def __init__(self) -> None:
        self.peers: dict[str, ObservedPeer] = {}
        self.asked: set[str] = set()
        self.echoes: set[str] = set()

    async def read(self) -> Mapping[str, ObservedPeer]:
        return self.peers

    def look(self, shows_the_same: Callable[[Mapping[str, ObservedPeer]], bool], found: Callable[[], None]) -> None:
        if not shows_the_same(self.peers):
            found()

    def close(self) -> None:
        self.peers.clear()

    def traffic(self) -> Traffic:
        return Traffic(received=len(self.asked))

    def was_quiet(self, before: Traffic, now: Traffic) -> bool:
        return before == now

    def datagrams(self) -> int:
        return len(self.peers)

    def probe(self, addresses: Iterable[str]) -> None:
        for address in addresses:
            assert address not in self.asked, f"no peer is in doubt, but {address} is asked"
            self.asked.add(address)
            self.echoes.add(address)

    def answered(self) -> frozenset[str]:
        answered = frozenset(self.echoes)
        self.echoes.clear()
        return answered

    async def is_tunnelled(self, endpoint: str) -> bool:
        return endpoint == ""

    async def has_route(self, endpoint: str) -> bool:
        return bool(endpoint)

    def settle(self, numbers: Iterable[int]) -> None:
        """Report a new handshake for these nodes."""
        for number in numbers:
            self.peers[f"key-{number:06}"] = ObservedPeer(endpoint="192.0.2.1:51820", last_handshake=time.time())


class Mesh:
    """The controllers between affiliates and peers, on a state of their own."""

    def __init__(self, count: int) -> None:
        self.state = MemoryState()
        self.engine = Engine(self.state)
        self.device = SettledDevice()
        self.device.settle(range(count + 1))

    async def start(self, nursery: trio.Nursery) -> None:
        """Run the engine, with KubeSpan switched on."""
        for controller in (PeerSpecController(), PeerStatusController(self.device), PeerController()):
            await self.engine.register(controller)
        await self.state.create(
            KubeSpanConfig.new(KUBESPAN_CONFIG_ID, KubeSpanConfigSpec(enabled=True, cluster_id="bench"))
        )
        await self.state.create(KubeSpanIdentity.new(LOCAL, KubeSpanIdentitySpec()))
        await self.state.create(Identity.new(LOCAL, IdentitySpec(node_id="me")))
        await nursery.start(self.engine.run)
        await trio.testing.wait_all_tasks_blocked()

    async def join(self, number: int) -> None:
        """Add one node, and wait until it is a peer of the link."""
        await self.state.create(affiliate(number))
        while self.state.find(WireguardPeerSpec, f"kubespan/key-{number:06}") is None:
            await trio.lowlevel.checkpoint()

    async def join_at_once(self, count: int) -> None:
        """Add many nodes, and wait until all are peers."""
        for number in range(count):
            await self.state.create(affiliate(number))
        while len(self.state.view(WireguardPeerSpec).items) < count:
            await trio.testing.wait_all_tasks_blocked()


async def _one_joins(count: int) -> float:
    """Microseconds until one more node is a peer; the median of some."""
    mesh = Mesh(count + 100)
    joins = []
    async with trio.open_nursery() as nursery:
        await mesh.start(nursery)
        await mesh.join_at_once(count)
        gc.collect()
        gc.freeze()
        for number in range(count, count + 100):
            started = time.process_time()
            await mesh.join(number)
            joins.append(time.process_time() - started)
        gc.unfreeze()
        nursery.cancel_scope.cancel()
    return sorted(joins)[len(joins) // 2] * 1e6


def one_joins() -> Figure:
    """One affiliate, among many and among few."""
    measured = compare_runs(lambda: _one_joins(MANY), lambda: _one_joins(100), repeats=3)
    return Figure("one affiliate joins a mesh of 10,000, against a mesh of 100", *measured, 1.5)


async def _all_join(count: int) -> float:
    mesh = Mesh(count)
    async with trio.open_nursery() as nursery:
        await mesh.start(nursery)
        gc.collect()
        started = time.process_time()
        for number in range(count):
            await mesh.join(number)
        seconds = time.process_time() - started
        nursery.cancel_scope.cancel()
    return seconds * 1e3


def all_join() -> Figure:
    """A mesh that grows, to ten times the size."""
    measured = compare_runs(lambda: _all_join(5_000), lambda: _all_join(500), repeats=3)
    return Figure("5,000 affiliates join one by one, against 500", *measured, 12, "ms")


def joins_against_writes() -> Figure:
    """Affiliates that become peer specs, against only the writes."""
    count = 1_000

    async def ours() -> float:
        mesh = Mesh(count)
        async with trio.open_nursery() as nursery:
            await mesh.engine.register(PeerSpecController())
            await mesh.state.create(
                KubeSpanConfig.new(KUBESPAN_CONFIG_ID, KubeSpanConfigSpec(enabled=True, cluster_id="bench"))
            )
            await mesh.state.create(Identity.new(LOCAL, IdentitySpec(node_id="me")))
            await nursery.start(mesh.engine.run)
            await trio.testing.wait_all_tasks_blocked()
            gc.collect()
            started = time.process_time()
            for number in range(count):
                await mesh.state.create(affiliate(number))
                while mesh.state.find(KubeSpanPeerSpec, f"key-{number:06}") is None:
                    await trio.lowlevel.checkpoint()
            seconds = time.process_time() - started
            nursery.cancel_scope.cancel()
        return seconds * 1e3

    async def baseline() -> float:
        state = MemoryState()
        gc.collect()
        started = time.process_time()
        for number in range(count):
            await state.create(affiliate(number))
            await state.create(KubeSpanPeerSpec.new(f"key-{number:06}", KubeSpanPeerSpecSpec(label="peer")))
        return (time.process_time() - started) * 1e3

    measured = compare_runs(ours, baseline)
    return Figure("1,000 affiliates that become peer specs, against the writes", *measured, 30, "ms")


def settled_poll() -> Figure:
    """The statuses written by a poll of an idle mesh, per peer."""

    async def writes() -> int:
        mesh = Mesh(MANY)
        clock = trio.lowlevel.current_clock()
        assert isinstance(clock, trio.testing.MockClock)
        async with trio.open_nursery() as nursery:
            await mesh.start(nursery)
            await mesh.join_at_once(MANY)
            counters = mesh.engine.runners[PeerStatusController.name].access.counters
            before = counters.writes
            versions = sum(status.metadata.version or 0 for status in mesh.state.list(KubeSpanPeerStatus))
            clock.jump(31)
            await trio.testing.wait_all_tasks_blocked()
            clock.jump(31)
            await trio.testing.wait_all_tasks_blocked()
            after = sum(status.metadata.version or 0 for status in mesh.state.list(KubeSpanPeerStatus))
            nursery.cancel_scope.cancel()
        return counters.writes - before + after - versions

    count = trio.run(writes, clock=trio.testing.MockClock())
    return Figure("statuses written by polls of 10,000 settled peers, per poll", count / 2, 1, 0, "count")


FIGURES = (one_joins, all_join, joins_against_writes, settled_poll)
