"""Two sites and the network between them, in virtual time: both run the real rules on a model of WireGuard."""

from collections.abc import Callable, Iterable, Mapping

import attrs
import pytest
import trio

from nodespan.controllers.kubespan.peer_state import ObservedPeer
from nodespan.controllers.kubespan.peer_status import PeerStatusController
from nodespan.kernel.net_counts import Traffic
from nodespan.resources.kubespan import KubeSpanPeerSpec, KubeSpanPeerSpecSpec, KubeSpanPeerStatus, PeerState
from nodespan.runtime.testing.kit import Node, running

# WireGuard tries a handshake again after this, and a session that hears nothing for as long begins anew.
RETRY = 5.0
WORKING = "192.0.2.2:51820"


@attrs.define
class Wire:
    """What lies between: the endpoints behind which there is somebody, unless it is cut."""

    working: frozenset[str] = frozenset({WORKING})
    is_cut: bool = False
    # Endpoints at which nothing arrives, while what the peer sends of its own accord comes from there.
    deaf: frozenset[str] = frozenset()

    def carries(self, endpoint: str) -> bool:
        return not self.is_cut and endpoint in self.working


@attrs.define
class ModelDevice:
    """One peer of a device: shakes hands when it is asked to send, at most every five seconds, where the wire lets it.

    It follows the status as the link's peer would: the endpoint that was chosen last is what it uses.
    """

    wire: Wire
    endpoint: str = ""
    last_handshake: float | None = None
    tried: float = -RETRY
    received: int = 0
    sent: int = 0
    changes: int = 0
    # Whether packets leave the machine at all, and whether there is a device.
    sends: bool = True
    is_there: bool = True
    echoes: set[str] = attrs.field(factory=set)

    async def read(self) -> Mapping[str, ObservedPeer]:
        return self.peers()

    def peers(self) -> Mapping[str, ObservedPeer]:
        if not self.is_there:
            return {}
        return {
            "key": ObservedPeer(
                endpoint=self.endpoint,
                last_handshake=self.last_handshake,
                received=self.received,
                sent=self.sent,
            )
        }

    def use(self, endpoint: str) -> None:
        if endpoint and endpoint != self.endpoint:
            self.endpoint = endpoint
            self.changes += 1

    def carry(self) -> None:
        """A packet each way, of a user's, or an attempt to shake hands for it."""
        now = trio.current_time()
        if not self.sends:
            return
        self.sent += 148
        if self.endpoint in self.wire.deaf:
            self.received += 148
            return
        if not self.wire.carries(self.endpoint):
            return
        if self.last_handshake is None or now - self.last_handshake > 120:
            if now - self.tried < RETRY:
                return
            self.tried = now
            self.last_handshake = now
        self.received += 148

    def look(self, shows_the_same: Callable[[Mapping[str, ObservedPeer]], bool], found: Callable[[], None]) -> None:
        if not shows_the_same(self.peers()):
            found()

    def close(self) -> None:
        self.endpoint = ""

    def traffic(self) -> Traffic:
        return Traffic(received=self.received, sent=self.sent)

    def was_quiet(self, before: Traffic, now: Traffic) -> bool:
        return before == now

    def datagrams(self) -> int:
        return self.received

    def probe(self, addresses: Iterable[str]) -> None:
        for address in addresses:
            self.carry()
            if self.wire.carries(self.endpoint) and self.endpoint not in self.wire.deaf:
                self.echoes.add(address)

    def answered(self) -> frozenset[str]:
        answered = frozenset(self.echoes)
        self.echoes.clear()
        return answered

    async def is_tunnelled(self, endpoint: str) -> bool:
        return endpoint == ""

    async def has_route(self, endpoint: str) -> bool:
        return bool(endpoint)


async def _live(node: Node, device: ModelDevice, seconds: float, *, until_up: bool = False) -> float:
    """Let users send packets and the link follow the statuses, until the peer is up and heard; how long that lasted."""
    began, received = trio.current_time(), device.received
    while trio.current_time() - began < seconds:
        device.carry()
        status = node.state.find(KubeSpanPeerStatus, "key")
        if status is not None:
            device.use(status.spec.last_used_endpoint)
            if until_up and status.spec.state is PeerState.UP and device.received > received:
                break
        await trio.sleep(0.5)
    return trio.current_time() - began


@pytest.mark.virtual_clock
@pytest.mark.parametrize("endpoints", [(WORKING,), (WORKING, "198.51.100.9:51820")], ids=["one endpoint", "two"])
@pytest.mark.parametrize("minutes", [1, 3, 10])
async def test_after_a_cut_a_pair_is_up_again_within_15_seconds(endpoints: tuple[str, ...], minutes: int) -> None:
    device = ModelDevice(Wire())
    async with running(PeerStatusController(device, now=trio.current_time, wall=trio.current_time)) as node:
        spec = KubeSpanPeerSpecSpec(address="fd00::2", endpoints=endpoints, label="two")
        await node.create(KubeSpanPeerSpec.new("key", spec))
        assert await _live(node, device, 60, until_up=True) < 15
        await _live(node, device, 400)
        device.wire.is_cut = True
        await _live(node, device, minutes * 60)
        assert node.state.get(KubeSpanPeerStatus, "key").spec.state is not PeerState.UP
        device.wire.is_cut = False
        assert await _live(node, device, 60, until_up=True) <= 15


@pytest.mark.virtual_clock
async def test_a_path_that_works_is_never_given_up() -> None:
    device = ModelDevice(Wire())
    async with running(PeerStatusController(device, now=trio.current_time, wall=trio.current_time)) as node:
        spec = KubeSpanPeerSpecSpec(address="fd00::2", endpoints=("198.51.100.9:51820", WORKING), label="two")
        await node.create(KubeSpanPeerSpec.new("key", spec))
        await _live(node, device, 30, until_up=True)
        changes = device.changes
        await _live(node, device, 3600)
        assert (device.endpoint, device.changes) == (WORKING, changes)


@pytest.mark.virtual_clock
@pytest.mark.parametrize("reason", ["unplugged", "unroutable", "removed"])
async def test_a_peer_that_nothing_answers_for_is_not_up_for_longer_than_90_seconds(reason: str) -> None:
    """Nobody sends: packets are lost, or cannot even be sent, or the device is gone; both ends see the same."""
    device = ModelDevice(Wire())
    async with running(PeerStatusController(device, now=trio.current_time, wall=trio.current_time)) as node:
        spec = KubeSpanPeerSpecSpec(address="fd00::2", endpoints=(WORKING,), label="two")
        await node.create(KubeSpanPeerSpec.new("key", spec))
        await _live(node, device, 60, until_up=True)
        device.wire.is_cut = True
        device.sends = reason == "unplugged"
        device.is_there = reason != "removed"
        await node.eventually(KubeSpanPeerStatus, "key", lambda r: r.spec.state is not PeerState.UP, within=90)
        await trio.sleep(300)
        assert node.state.get(KubeSpanPeerStatus, "key").spec.state is not PeerState.UP


@pytest.mark.virtual_clock
async def test_a_path_that_is_cut_one_way_is_left_for_another_though_the_peer_is_heard_on_it() -> None:
    other = "198.51.100.9:51820"
    device = ModelDevice(Wire(working=frozenset({WORKING, other})))
    async with running(PeerStatusController(device, now=trio.current_time, wall=trio.current_time)) as node:
        spec = KubeSpanPeerSpecSpec(address="fd00::2", endpoints=(WORKING, other), label="two")
        await node.create(KubeSpanPeerSpec.new("key", spec))
        await _live(node, device, 60, until_up=True)
        await _live(node, device, 60)
        assert device.endpoint == WORKING
        device.wire.deaf = frozenset({WORKING})
        await _live(node, device, 30)
        assert device.endpoint == other
        changes = device.changes
        await _live(node, device, 600)
        assert (device.endpoint, device.changes) == (other, changes)
        assert node.state.get(KubeSpanPeerStatus, "key").spec.state is PeerState.UP
