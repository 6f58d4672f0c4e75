import errno
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from nodespan.controllers.common.ip.blocks import IPSet
from nodespan.controllers.config.loading import load
from nodespan.controllers.kubespan.config import ConfigController, kubespan_config
from nodespan.controllers.kubespan.endpoint import EndpointController
from nodespan.controllers.kubespan.endpoint_order import PERIOD
from nodespan.controllers.kubespan.peer_spec import PeerSpecController
from nodespan.controllers.kubespan.peer_state import ObservedPeer
from nodespan.controllers.kubespan.peer_status import GREETINGS, PeerStatusController
from nodespan.kernel.net_counts import Traffic
from nodespan.resources.cluster import NAMESPACE as CLUSTER_NAMESPACE
from nodespan.resources.cluster import (
    PUBLIC_ADDRESS_ID,
    Affiliate,
    AffiliateSpec,
    Identity,
    IdentitySpec,
    KubeSpanAffiliate,
)
from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig
from nodespan.resources.kubespan import (
    KUBESPAN_CONFIG_ID,
    LOCAL,
    KubeSpanConfig,
    KubeSpanConfigSpec,
    KubeSpanEndpoint,
    KubeSpanEndpointSpec,
    KubeSpanIdentity,
    KubeSpanIdentitySpec,
    KubeSpanPeerSpec,
    KubeSpanPeerSpecSpec,
    KubeSpanPeerStatus,
    KubeSpanPeerStatusSpec,
    KubeSpanRelayStatus,
    KubeSpanRelayStatusSpec,
    KubeSpanStaticPeer,
    PeerState,
)
from nodespan.resources.network import AddressStatus, AddressStatusSpec, NodeAddress, NodeAddressSpec
from nodespan.runtime.errors import ConflictError
from nodespan.runtime.resource import Resource
from nodespan.runtime.testing.kit import Node, running
from tests.support.counting import Steps

SECRET = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
ENABLED = KubeSpanConfigSpec(enabled=True, cluster_id="cluster", harvest_extra_endpoints=True)

OLD = f"""
machine:
  type: worker
  network:
    kubespan:
      enabled: true
      allowDownPeerBypass: true
      filters: {{endpoints: [0.0.0.0/0], excludeAdvertisedNetworks: [10.0.0.0/8]}}
cluster:
  id: cluster
  secret: {SECRET}
  discovery: {{enabled: true}}
"""
NEW = f"""
apiVersion: v1alpha1
kind: KubeSpanConfig
enabled: true
allowDownPeerBypass: true
filters: {{endpoints: [0.0.0.0/0], excludeAdvertisedNetworks: [10.0.0.0/8]}}
---
apiVersion: v1alpha1
kind: DiscoveryIdentityConfig
clusterID: cluster
clusterSecret: {SECRET}
---
apiVersion: v1alpha1
kind: DiscoveryServiceConfig
name: default
endpoint: https://discovery.example.org/
---
apiVersion: v1alpha1
kind: KubeSpanEndpointsConfig
extraAnnouncedEndpoints: ["203.0.113.5:51820"]
"""


@pytest.mark.parametrize(("text", "extra"), [(OLD, ()), (NEW, ("203.0.113.5:51820",))], ids=["old", "new"])
def test_both_kinds_of_configuration_say_the_same(text: str, extra: tuple[str, ...]) -> None:
    loaded = load(text)
    assert not loaded.errors
    assert kubespan_config(loaded.config) == KubeSpanConfigSpec(
        enabled=True,
        cluster_id="cluster",
        shared_secret=SECRET,
        force_routing=False,
        mtu=1420,
        endpoint_filters=("0.0.0.0/0",),
        extra_endpoints=extra,
        exclude_advertised_networks=("10.0.0.0/8",),
    )


async def test_the_settings_go_with_the_configuration() -> None:
    async with running(ConfigController()) as node:
        await node.put(MachineConfig, MACHINE_CONFIG_ID, load(OLD).config)
        await node.eventually(KubeSpanConfig, KUBESPAN_CONFIG_ID)
        await node.destroy(MachineConfig, MACHINE_CONFIG_ID)
        await node.gone(KubeSpanConfig, KUBESPAN_CONFIG_ID)


def _affiliate(name: str, *addresses: str, number: int = 1) -> AffiliateSpec:
    return AffiliateSpec(
        node_id=name,
        nodename=name,
        addresses=addresses,
        kubespan=KubeSpanAffiliate(
            public_key=f"key-{name}", address=f"fd00::{number}", endpoints=(f"{addresses[0]}:1",)
        ),
    )


async def _enable(node: Node) -> None:
    await node.put(KubeSpanConfig, KUBESPAN_CONFIG_ID, ENABLED)
    await node.put(Identity, LOCAL, IdentitySpec(node_id="me"))


async def test_affiliates_become_peers_and_the_own_node_does_not() -> None:
    async with running(PeerSpecController()) as node:
        await node.put(Affiliate, "me", _affiliate("me", "192.0.2.1"))
        await node.put(Affiliate, "a", _affiliate("a", "192.0.2.2", number=2))
        await _enable(node)
        peer = await node.eventually(KubeSpanPeerSpec, "key-a")
        assert peer.spec == KubeSpanPeerSpecSpec(
            address="fd00::2", allowed_ips=("192.0.2.2/32", "fd00::2/128"), endpoints=("192.0.2.2:1",), label="a"
        )
        await node.settled()
        assert [peer.id for peer in node.state.list(KubeSpanPeerSpec)] == ["key-a"]
        await node.put(KubeSpanConfig, KUBESPAN_CONFIG_ID, KubeSpanConfigSpec())
        await node.gone(KubeSpanPeerSpec, "key-a")


def test_the_address_of_a_peer_is_as_the_kernel_writes_it() -> None:
    peer = "{publicKey: 2YvZ3JLuVJHQpfQ3vbnm1Ab4zH8EHE8Mk8NDhpJJ7XI=, address: 'FD7F:0175::0:1'}"
    kind = "apiVersion: nodespan.dev/v1alpha1\nkind: NodespanConfig\n"
    cluster = f"cluster: {{id: abc, secret: {SECRET}}}\nmachine: {{network: {{kubespan: {{enabled: true}}}}}}\n"
    loaded = load(f"{cluster}---\n{kind}kubespan: {{staticPeers: [{peer}]}}\n")
    assert loaded.errors == ()
    config = kubespan_config(loaded.config)
    assert config is not None
    assert [peer.address for peer in config.static_peers] == ["fd7f:175::1"]


STATIC = KubeSpanStaticPeer(
    public_key="key-a",
    label="db",
    address="fd00::2",
    endpoints=("198.51.100.7:4000",),
    allowed_ips=("10.0.0.0/8", "0.0.0.0/0"),
)


async def test_a_peer_of_the_configuration_needs_no_discovery() -> None:
    own = attrs.evolve(STATIC, public_key="own")
    config = attrs.evolve(ENABLED, static_peers=(STATIC, own))
    async with running(PeerSpecController()) as node:
        await node.put(KubeSpanConfig, KUBESPAN_CONFIG_ID, config)
        await node.put(Identity, LOCAL, IdentitySpec(node_id="me"))
        await node.put(KubeSpanIdentity, LOCAL, KubeSpanIdentitySpec(public_key="own"))
        peer = await node.eventually(KubeSpanPeerSpec, "key-a")
        assert peer.spec == KubeSpanPeerSpecSpec(
            address="fd00::2", allowed_ips=("0.0.0.0/0", "fd00::2/128"), endpoints=("198.51.100.7:4000",), label="db"
        )
        await node.settled()
        assert [peer.id for peer in node.state.list(KubeSpanPeerSpec)] == ["key-a"]
        # What a member of its key announces is added, and taken away again.
        announced = _affiliate("a", "192.0.2.2", number=3)
        await node.put(Affiliate, "a", announced)
        await node.eventually(KubeSpanPeerSpec, "key-a", lambda found: len(found.spec.endpoints) > 1)
        found = node.state.get(KubeSpanPeerSpec, "key-a").spec
        assert found == KubeSpanPeerSpecSpec(
            address="fd00::3",
            allowed_ips=("0.0.0.0/0", "fd00::2/127"),
            endpoints=("198.51.100.7:4000", "192.0.2.2:1"),
            label="db",
        )
        await node.destroy(Affiliate, "a")
        await node.eventually(KubeSpanPeerSpec, "key-a", lambda found: found.spec == peer.spec)
        # Once it is in the configuration no more, only what is announced counts.
        await node.put(Affiliate, "a", announced)
        await node.put(KubeSpanConfig, KUBESPAN_CONFIG_ID, ENABLED)
        await node.eventually(KubeSpanPeerSpec, "key-a", lambda found: found.spec.endpoints == ("192.0.2.2:1",))
        await node.destroy(Affiliate, "a")
        await node.gone(KubeSpanPeerSpec, "key-a")


async def test_a_member_takes_no_address_from_a_peer_of_the_configuration_by_its_name_alone() -> None:
    async with running(PeerSpecController()) as node:
        await node.put(KubeSpanConfig, KUBESPAN_CONFIG_ID, attrs.evolve(ENABLED, static_peers=(STATIC,)))
        await node.put(Identity, LOCAL, IdentitySpec(node_id="me"))
        await node.put(KubeSpanIdentity, LOCAL, KubeSpanIdentitySpec(public_key="own"))
        await node.put(Affiliate, "b", _affiliate("b", "10.0.0.1", number=3))
        await node.eventually(KubeSpanPeerSpec, "key-b")
        await node.eventually(KubeSpanPeerSpec, "key-a", lambda found: "0.0.0.0/0" not in found.spec.allowed_ips)
        # The member keeps its own address, within the network that is reached through the peer.
        assert node.state.get(KubeSpanPeerSpec, "key-b").spec.allowed_ips == ("10.0.0.1/32", "fd00::3/128")


@pytest.mark.parametrize("gateway", ["aaa", "zzz"])
async def test_a_network_behind_a_peer_takes_no_address_from_a_member_once_a_member_announces_the_key_too(
    gateway: str,
) -> None:
    static = attrs.evolve(STATIC, public_key=f"key-{gateway}", allowed_ips=("10.0.0.0/8",))
    other = attrs.evolve(STATIC, public_key="key-other", address="fd00::9", allowed_ips=("10.9.0.0/16", "192.0.2.2/32"))
    async with running(PeerSpecController()) as node:
        await node.put(KubeSpanConfig, KUBESPAN_CONFIG_ID, attrs.evolve(ENABLED, static_peers=(static, other)))
        await node.put(Identity, LOCAL, IdentitySpec(node_id="me"))
        await node.put(KubeSpanIdentity, LOCAL, KubeSpanIdentitySpec(public_key="own"))
        await node.put(Affiliate, "b", _affiliate("b", "10.1.2.3", number=3))
        await node.put(Affiliate, gateway, _affiliate(gateway, "192.0.2.2", number=2))
        await node.eventually(KubeSpanPeerSpec, static.public_key, lambda found: len(found.spec.endpoints) > 1)
        await node.settled()
        granted = {peer.id: IPSet.parse(peer.spec.allowed_ips) for peer in node.state.list(KubeSpanPeerSpec)}
    assert granted["key-b"].texts() == ("10.1.2.3/32", "fd00::3/128")
    everything = IPSet.parse(["10.0.0.0/8", "192.0.2.2/32", "fd00::2/128"])
    # Of two peers of the configuration, the lower key has what both name; the other loses what a member announces.
    if static.public_key < other.public_key:
        assert granted[static.public_key] == everything - IPSet.parse(["10.1.2.3/32"])
        assert granted[other.public_key].texts() == ("fd00::9/128",)
    else:
        assert granted[static.public_key] == everything - IPSet.parse(["10.1.2.3/32", "10.9.0.0/16"])
        assert granted[other.public_key].texts() == ("10.9.0.0/16", "fd00::9/128")


async def test_the_endpoints_of_a_peer_follow_where_this_node_is() -> None:
    endpoints = ("10.0.0.7:1", "198.51.100.7:1")
    async with running(PeerSpecController()) as node:
        affiliate = _affiliate("a", "10.0.0.7")
        assert affiliate.kubespan is not None
        kubespan = attrs.evolve(affiliate.kubespan, endpoints=endpoints)
        await node.put(Affiliate, "a", attrs.evolve(affiliate, kubespan=kubespan))
        await _enable(node)
        await node.eventually(KubeSpanPeerSpec, "key-a", lambda peer: peer.spec.endpoints == endpoints)
        # Elsewhere, by its public address; and then on the same network.
        public = AddressStatusSpec(address="203.0.113.5/32")
        await node.create(AddressStatus.new(PUBLIC_ADDRESS_ID, public, namespace=CLUSTER_NAMESPACE))
        await node.eventually(KubeSpanPeerSpec, "key-a", lambda peer: peer.spec.endpoints == endpoints[::-1])
        await node.put(NodeAddress, "current-no-k8s", NodeAddressSpec(addresses=("10.0.0.5/24",)))
        await node.eventually(KubeSpanPeerSpec, "key-a", lambda peer: peer.spec.endpoints == endpoints)
        # A filter has an order of its own.
        await node.put(NodeAddress, "current-no-k8s", NodeAddressSpec(addresses=("10.9.0.5/24",)))
        await node.eventually(KubeSpanPeerSpec, "key-a", lambda peer: peer.spec.endpoints == endpoints[::-1])
        filtered = attrs.evolve(ENABLED, peer_endpoint_filters=("10.0.0.0/8", "0.0.0.0/0"))
        await node.put(KubeSpanConfig, KUBESPAN_CONFIG_ID, filtered)
        await node.eventually(KubeSpanPeerSpec, "key-a", lambda peer: peer.spec.endpoints == endpoints)


async def test_an_overlap_is_logged_once_and_names_both(capsys: pytest.CaptureFixture[str]) -> None:
    async with running(PeerSpecController()) as node:
        await _enable(node)
        await node.put(Affiliate, "a", _affiliate("a", "192.0.2.2", number=2))
        for _ in range(20):
            await node.put(Affiliate, "b", _affiliate("b", "192.0.2.3", "192.0.2.2", number=3))
            await node.settled()
            assert "192.0.2.2/32" in node.state.get(KubeSpanPeerSpec, "key-a").spec.allowed_ips
            assert "192.0.2.2/32" not in node.state.get(KubeSpanPeerSpec, "key-b").spec.allowed_ips
            await node.put(Affiliate, "b", _affiliate("b", "192.0.2.3", number=3))
            await node.settled()
    said = [line for line in capsys.readouterr().out.splitlines() if "announce the same" in line]
    assert len(said) == 1
    assert "a (a)" in said[0]
    assert "b (b)" in said[0]


async def test_a_peer_with_an_address_that_is_none_is_left_out_and_the_others_are_not() -> None:
    async with running(PeerSpecController()) as node:
        await _enable(node)
        await node.put(Affiliate, "bad", _affiliate("bad", "nonsense", number=2))
        await node.put(Affiliate, "good", _affiliate("good", "192.0.2.3", number=3))
        await node.eventually(KubeSpanPeerSpec, "key-good")
        await node.settled()
        assert node.state.find(KubeSpanPeerSpec, "key-bad") is None
        await node.put(Affiliate, "bad", _affiliate("bad", "192.0.2.2", number=2))
        await node.eventually(KubeSpanPeerSpec, "key-bad")


class FakeDevice:
    """A device whose answers the test sets; counts how often it is read."""

    def __init__(self, *, answers: bool = False) -> None:
        self.answers = answers
        self.is_silent = False
        self.echoes: set[str] = set()
        self.peers: dict[str, ObservedPeer] = {}
        self.reads = 0
        self.looks = 0
        self.was_read = trio.Event()
        self.packets = 0
        self.arrived = 0
        self.came: tuple[object, ...] = ()
        self.probed: list[str] = []
        self.tunnelled: set[str] = set()
        self.routeless: set[str] = set()

    async def read(self) -> Mapping[str, ObservedPeer]:
        self.reads += 1
        self.was_read.set()
        self.was_read = trio.Event()
        if self.is_silent:
            await trio.sleep(10)
            raise TimeoutError(errno.ETIMEDOUT, "no answer")
        return dict(self.peers)

    def look(self, shows_the_same: Callable[[Mapping[str, ObservedPeer]], bool], found: Callable[[], None]) -> None:
        self.looks += 1
        if self.is_silent or not shows_the_same(dict(self.peers)):
            found()

    def close(self) -> None:
        self.closed = True

    def traffic(self) -> Traffic:
        return Traffic(sent=self.packets)

    def was_quiet(self, before: Traffic, now: Traffic) -> bool:
        return before == now

    def datagrams(self) -> int:
        # Whatever a peer shows that is new came in some.
        came = self.everything()
        self.arrived += came != self.came
        self.came = came
        return self.arrived

    def everything(self) -> tuple[object, ...]:
        return tuple((key, peer.endpoint, peer.received, peer.last_handshake) for key, peer in self.peers.items())

    def probe(self, addresses: Iterable[str]) -> None:
        asked = list(addresses)
        self.probed += asked
        if self.answers and asked:
            self.echoes.update(asked)
            # All of them, whatever their addresses.
            for key, peer in self.peers.items():
                self.peers[key] = attrs.evolve(peer, received=peer.received + 96)

    def answered(self) -> frozenset[str]:
        answered = frozenset(self.echoes)
        self.echoes.clear()
        return answered

    async def is_tunnelled(self, endpoint: str) -> bool:
        return endpoint in self.tunnelled

    async def has_route(self, endpoint: str) -> bool:
        return endpoint not in self.routeless


def _peer(*endpoints: str) -> KubeSpanPeerSpecSpec:
    return KubeSpanPeerSpecSpec(address="fd00::2", endpoints=endpoints, label="two")


@pytest.mark.virtual_clock
async def test_a_settled_mesh_costs_one_look_per_half_minute_and_no_write() -> None:
    device = FakeDevice(answers=True)
    for number in range(200):
        device.peers[f"key-{number}"] = ObservedPeer(endpoint="192.0.2.2:1", last_handshake=trio.current_time())
    controller = PeerStatusController(device, now=trio.current_time, wall=trio.current_time)
    async with running(controller) as node:
        for number in range(200):
            await node.create(KubeSpanPeerSpec.new(f"key-{number}", _peer("192.0.2.2:1")))
        await node.settled()
        # As it comes up, each is asked once whether it answers.
        await trio.sleep(3)
        asked = len(device.probed)
        assert asked == 200
        counters = node.engine.runners[controller.name].access.counters
        for _ in range(5):
            for key, peer in device.peers.items():
                device.peers[key] = attrs.evolve(peer, last_handshake=trio.current_time(), received=peer.received + 92)
            await device.was_read.wait()
            await trio.sleep(1)
            reads, writes = device.reads, counters.writes
            await trio.sleep(30)
            assert device.reads - reads == 1
            assert counters.writes == writes
        assert len(device.probed) == asked


@pytest.mark.virtual_clock
async def test_peers_that_are_down_cost_a_reading_a_write_and_a_probe_every_half_minute() -> None:
    """Though each is sent a handshake every five seconds."""
    device = FakeDevice()
    controller = PeerStatusController(device, now=trio.current_time, wall=trio.current_time)
    async with running(controller) as node:
        for number in range(100):
            device.peers[f"key-{number}"] = ObservedPeer(endpoint=f"192.0.2.{number}:1")
            await node.create(KubeSpanPeerSpec.new(f"key-{number}", _peer(f"192.0.2.{number}:1")))
        # Between two looks, and behind one at all that counts.
        await trio.sleep(302.5)
        counters = node.engine.runners[controller.name].access.counters
        steps = Steps()
        trio.lowlevel.add_instrument(steps)
        reads, looks, writes, probed = device.reads, device.looks, counters.writes, len(device.probed)
        for second in range(60):
            for number in range(second % 5, 100, 5):
                peer = device.peers[f"key-{number}"]
                device.peers[f"key-{number}"] = attrs.evolve(peer, sent=peer.sent + 148)
            device.packets += 1
            await trio.sleep(1)
        trio.lowlevel.remove_instrument(steps)
        # By a thread that has nothing to tell the loop.
        assert device.reads == reads
        assert device.looks - looks == 2
        assert counters.writes - writes == 200
        assert len(device.probed) - probed == 200
        # Of the controller: one a second, and a few more as it writes.
        assert steps.by_task[controller.name] <= 60 + 20
        shown = node.state.get(KubeSpanPeerStatus, "key-7").spec
        assert shown.state is PeerState.DOWN
        assert device.peers["key-7"].sent - shown.transmit_bytes <= 7 * 148


@pytest.mark.virtual_clock
async def test_a_peer_that_goes_down_or_gets_another_endpoint_is_probed_within_seconds_and_then_now_and_then() -> None:
    device = FakeDevice()
    device.peers["key"] = ObservedPeer()
    controller = PeerStatusController(device, now=trio.current_time, wall=trio.current_time)
    probed: list[float] = []

    def note(addresses: Iterable[str]) -> None:
        probed.extend(trio.current_time() for _ in addresses)

    device.probe = note  # type: ignore[method-assign]
    async with running(controller) as node:
        await node.create(KubeSpanPeerSpec.new("key", _peer("192.0.2.2:1")))
        added = trio.current_time()
        await trio.sleep(300)
        assert probed[0] - added <= 5
        assert all(25 <= later - sooner <= 30 for sooner, later in pairwise(probed[1:]))
        probed.clear()
        await node.put(KubeSpanPeerSpec, "key", _peer("192.0.2.3:1"))
        changed = trio.current_time()
        await trio.sleep(25)
        # Each endpoint is tried for 15 s.
        assert probed[0] - changed <= 15 + 5


@pytest.mark.virtual_clock
async def test_peers_that_are_down_among_those_that_are_up_cost_no_reading_of_their_own() -> None:
    device = FakeDevice(answers=True)
    controller = PeerStatusController(device, now=trio.current_time, wall=trio.current_time)
    async with running(controller) as node:
        for number in range(20):
            device.peers[f"key-{number}"] = ObservedPeer(endpoint=f"192.0.2.{number}:1")
            await node.create(KubeSpanPeerSpec.new(f"key-{number}", _peer(f"192.0.2.{number}:1")))
        device.answers = False
        for second in range(360):
            for number in range(20):
                peer = device.peers[f"key-{number}"]
                if number % 2:
                    changed = attrs.evolve(peer, sent=peer.sent + 148)
                elif second % 25 == number:
                    handshake = trio.current_time()
                    changed = attrs.evolve(
                        peer, received=peer.received + 32, sent=peer.sent + 32, last_handshake=handshake
                    )
                else:
                    continue
                device.peers[f"key-{number}"] = changed
                # What is up keeps its own rhythm: this is about those that are down.
                device.came = device.everything()
            if second == 300:
                reads, looks = device.reads, device.looks
            await trio.sleep(1)
        states = {status.id: status.spec.state for status in node.state.list(KubeSpanPeerStatus)}
        assert states == {f"key-{number}": PeerState.DOWN if number % 2 else PeerState.UP for number in range(20)}
        assert device.reads - reads <= 60 / 30 + 2
        assert device.looks == looks


@pytest.mark.virtual_clock
@pytest.mark.parametrize("late", [0.0, 0.7])
async def test_a_handshake_with_a_peer_that_has_long_been_down_is_seen_within_a_second(late: float) -> None:
    """`late`: so much after its datagrams were counted the device shows it, which is later than the next reading."""
    device = FakeDevice(answers=True)
    controller = PeerStatusController(device, now=trio.current_time, wall=trio.current_time)
    async with running(controller) as node:
        for number in range(3):
            device.peers[f"key-{number}"] = ObservedPeer(endpoint=f"192.0.2.{number}:1", last_handshake=None)
            await node.create(KubeSpanPeerSpec.new(f"key-{number}", _peer(f"192.0.2.{number}:1")))
        for tenths in range(0, 50, 7):
            device.answers = False
            device.peers["key-1"] = ObservedPeer(endpoint="192.0.2.1:1")
            await trio.sleep(300)
            assert node.state.get(KubeSpanPeerStatus, "key-1").spec.state is PeerState.DOWN
            await trio.sleep(tenths / 10)
            device.answers = True
            device.arrived += 1
            await trio.sleep(late)
            # Without more datagrams: those of the handshake were counted before it was done.
            handshake = trio.current_time()
            device.peers["key-1"] = ObservedPeer(endpoint="192.0.2.1:1", last_handshake=handshake, received=92)
            device.came = device.everything()
            began = trio.current_time()
            await node.eventually(KubeSpanPeerStatus, "key-1", lambda found: found.spec.state is PeerState.UP)
            assert trio.current_time() - began <= 1.0


@pytest.mark.virtual_clock
@pytest.mark.parametrize("late", [0.3, 11.3, 29.3])
async def test_a_peer_that_falls_silent_while_nothing_is_carried_is_asked_when_it_should_have_been_heard(
    late: float,
) -> None:
    device = FakeDevice(answers=True)
    for number in range(3):
        device.peers[f"key-{number}"] = ObservedPeer(endpoint="192.0.2.2:1", last_handshake=trio.current_time())
    controller = PeerStatusController(device, now=trio.current_time, wall=trio.current_time)
    async with running(controller) as node:
        for number in range(3):
            await node.create(KubeSpanPeerSpec.new(f"key-{number}", _peer("192.0.2.2:1")))
        await trio.sleep(50 + late)
        for key, peer in device.peers.items():
            device.peers[key] = attrs.evolve(peer, received=peer.received + 32)
        await device.was_read.wait()
        heard, asked, reads = trio.current_time(), len(device.probed), device.reads
        device.answers = False
        await trio.sleep(44)
        assert (len(device.probed), device.reads) == (asked, reads + 1)
        await trio.sleep(2.5)
        assert len(device.probed) == asked + 3
        # None is up any more once it did not answer.
        for number in range(3):
            await node.eventually(
                KubeSpanPeerStatus, f"key-{number}", lambda found: found.spec.state is not PeerState.UP
            )
        assert 45 + 11 <= trio.current_time() - heard <= 45 + 13


@pytest.mark.virtual_clock
async def test_peers_that_are_heard_only_when_they_are_asked_are_not_read_one_by_one() -> None:
    device = FakeDevice()
    controller = PeerStatusController(device, now=trio.current_time, wall=trio.current_time)
    async with running(controller) as node:
        for number in range(40):
            # Each is up since a moment of its own.
            await node.create(
                KubeSpanPeerSpec.new(f"key-{number}", attrs.evolve(_peer("192.0.2.2:1"), address=f"fd00::{number}"))
            )
            device.peers[f"key-{number}"] = ObservedPeer(
                endpoint="192.0.2.2:1", last_handshake=trio.current_time(), received=92
            )
            await trio.sleep(1)

        def answer(addresses: Iterable[str]) -> None:
            for address in addresses:
                device.echoes.add(address)
                key = f"key-{address.removeprefix('fd00::')}"
                peer = device.peers[key]
                device.peers[key] = attrs.evolve(peer, received=peer.received + 96, last_handshake=trio.current_time())

        device.probe = answer  # type: ignore[method-assign]
        await trio.sleep(300)
        assert all(status.spec.state is PeerState.UP for status in node.state.list(KubeSpanPeerStatus))
        reads = device.reads
        await trio.sleep(450)
        # Every five seconds at most, and for the answers.
        assert device.reads - reads <= 2 * 450 / 5


@pytest.mark.virtual_clock
async def test_keepalives_alone_are_shown_every_half_minute_and_data_within_a_second() -> None:
    """As the kernel's device counts them as packets of its link, so that it carries some every second."""
    device = FakeDevice(answers=True)
    for number in range(100):
        device.peers[f"key-{number}"] = ObservedPeer(endpoint="192.0.2.2:1", last_handshake=trio.current_time())
    controller = PeerStatusController(device, now=trio.current_time, wall=trio.current_time)
    async with running(controller) as node:
        for number in range(100):
            await node.create(KubeSpanPeerSpec.new(f"key-{number}", _peer("192.0.2.2:1")))
        await trio.sleep(20.5)
        counters = node.engine.runners[controller.name].access.counters
        writes, asked = counters.writes, len(device.probed)

        async def live(seconds: int, *, sent: int = 0) -> None:
            for second in range(seconds):
                for number in range(second % 25, 100, 25):
                    peer = device.peers[f"key-{number}"]
                    more = attrs.evolve(peer, received=peer.received + 32, sent=peer.sent + 32)
                    device.peers[f"key-{number}"] = more
                peer = device.peers["key-7"]
                device.peers["key-7"] = attrs.evolve(peer, received=peer.received + sent, sent=peer.sent + sent)
                device.packets += 1
                await trio.sleep(1)

        await live(75)
        # Each is shown by two or three of the looks that count.
        assert 100 <= counters.writes - writes <= 300
        assert all(status.spec.state is PeerState.UP for status in node.state.list(KubeSpanPeerStatus))
        assert len(device.probed) == asked
        for _ in range(20):
            await live(1, sent=100)
            shown = node.state.get(KubeSpanPeerStatus, "key-7").spec
            assert device.peers["key-7"].received - shown.receive_bytes <= 100 + 32
        # What is not shown yet is with the next look that counts, though nothing moves any more.
        device.answers = False
        await trio.sleep(61)
        for status in node.state.list(KubeSpanPeerStatus):
            seen = device.peers[status.id]
            assert (status.spec.receive_bytes, status.spec.transmit_bytes) == (seen.received, seen.sent)


@pytest.mark.virtual_clock
async def test_a_state_that_could_not_be_written_is_shown_once_it_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """As while the namespace of the statuses is kept by a server that is away."""
    device = FakeDevice()
    device.peers["key"] = ObservedPeer(endpoint="192.0.2.2:1")
    controller = PeerStatusController(device, now=trio.current_time, wall=trio.current_time)
    async with running(controller, allow_crashes=True) as node:
        await node.create(KubeSpanPeerSpec.new("key", _peer("192.0.2.2:1")))
        await trio.sleep(60)
        assert node.state.get(KubeSpanPeerStatus, "key").spec.state is not PeerState.UP
        access, refused = node.engine.runners[controller.name].access, 0
        put = access.put

        async def refuse(kind: Any, id: str, spec: KubeSpanPeerStatusSpec) -> Resource[Any]:
            nonlocal refused
            if spec.state is PeerState.UP and refused < 5:
                refused += 1
                raise ConflictError("kept elsewhere")
            return await put(kind, id, spec)

        monkeypatch.setattr(access, "put", refuse)
        device.answers = True
        device.peers["key"] = ObservedPeer(endpoint="192.0.2.2:1", last_handshake=trio.current_time(), received=148)
        await trio.sleep(20)
        assert refused == 5
        assert node.state.get(KubeSpanPeerStatus, "key").spec.state is PeerState.UP


@pytest.mark.virtual_clock
async def test_the_first_keepalive_from_an_endpoint_is_shown_at_once() -> None:
    """It shows that the peer answers there: until then a relay may claim the endpoint."""
    device = FakeDevice()
    controller = PeerStatusController(device, now=trio.current_time, wall=trio.current_time)
    async with running(controller) as node:

        async def shown_after_a_keepalive() -> bool:
            peer = device.peers["key"]
            device.peers["key"] = attrs.evolve(peer, received=peer.received + 32)
            device.packets += 1
            await trio.sleep(1.5)
            return node.state.get(KubeSpanPeerStatus, "key").spec.receive_bytes == peer.received + 32

        seen = ObservedPeer(endpoint="192.0.2.2:1", last_handshake=trio.current_time(), received=92)
        device.peers["key"] = seen
        await node.create(KubeSpanPeerSpec.new("key", _peer("192.0.2.2:1")))
        await node.eventually(KubeSpanPeerStatus, "key", lambda found: found.spec.state is PeerState.UP)
        # Behind a look at all that counts.
        await trio.sleep(1.5)
        assert await shown_after_a_keepalive()
        await trio.sleep(10)
        assert not await shown_after_a_keepalive()
        # From elsewhere it is the first again, once it is seen there.
        peer = device.peers["key"]
        device.peers["key"] = attrs.evolve(peer, endpoint="198.51.100.7:9", received=peer.received + 32)
        device.packets += 1
        await trio.sleep(1.5)
        assert node.state.get(KubeSpanPeerStatus, "key").spec.endpoint == "198.51.100.7:9"
        assert await shown_after_a_keepalive()
        assert not await shown_after_a_keepalive()


@pytest.mark.virtual_clock
async def test_a_node_that_has_lost_an_address_lets_its_peers_hear_from_it_at_once() -> None:
    device = FakeDevice(answers=True)
    device.peers["key"] = ObservedPeer(endpoint="192.0.2.2:1", last_handshake=trio.current_time())
    async with running(PeerStatusController(device, now=trio.current_time, wall=trio.current_time)) as node:
        await node.create(KubeSpanPeerSpec.new("key", _peer("192.0.2.2:1")))
        await node.eventually(KubeSpanPeerStatus, "key", lambda r: r.spec.state is PeerState.UP)
        await trio.sleep(3)
        assert device.probed == ["fd00::2"]
        device.probed.clear()
        # Gaining one is no reason: what was sent from elsewhere is still answered.
        for addresses, asked in (
            (("192.0.2.1/24",), 0),
            (("192.0.2.1/24", "192.0.2.7/24"), 0),
            (("192.0.2.7/24",), GREETINGS),
            (("198.51.100.1/24",), 2 * GREETINGS),
        ):
            await node.put(NodeAddress, "current-no-k8s", NodeAddressSpec(addresses=addresses))
            await trio.sleep(GREETINGS + 2)
            assert device.probed == ["fd00::2"] * asked


@pytest.mark.virtual_clock
async def test_of_many_endpoints_the_likely_ones_are_tried_in_each_half_minute_and_all_in_turn() -> None:
    device, endpoints = FakeDevice(), tuple(f"192.0.2.{number}:1" for number in range(11))
    async with running(PeerStatusController(device, now=trio.current_time, wall=trio.current_time)) as node:
        await node.put(KubeSpanPeerSpec, "key", KubeSpanPeerSpecSpec(address="fd00::1", endpoints=endpoints))
        tried: dict[int, set[str]] = {}
        begins = trio.current_time() // PERIOD
        while trio.current_time() < (begins + 8) * PERIOD:
            await trio.sleep(1)
            status = node.state.find(KubeSpanPeerStatus, "key")
            assert status is not None
            changed_in = int(status.spec.last_endpoint_change.timestamp() // PERIOD - begins)
            tried.setdefault(changed_in, set()).add(status.spec.last_used_endpoint)
        # A trial may go on for a moment in the next period; the first one may have begun in the middle.
        whole = [tried[number] for number in range(1, 7)]
        assert all(len(set(endpoints[:2]) & period) == 2 for period in whole)
        assert set().union(*tried.values()) == set(endpoints)


@pytest.mark.virtual_clock
async def test_a_peer_without_a_handshake_is_looked_at_every_second_and_moves_on() -> None:
    device = FakeDevice()
    controller = PeerStatusController(device, now=trio.current_time, wall=trio.current_time)
    async with running(controller) as node:
        await node.create(KubeSpanPeerSpec.new("key", _peer("192.0.2.2:1", "192.0.2.3:1")))
        first = await node.eventually(KubeSpanPeerStatus, "key")
        assert (first.spec.last_used_endpoint, first.spec.state) == ("192.0.2.2:1", PeerState.UNKNOWN)
        began, reads = trio.current_time(), device.reads
        await node.eventually(KubeSpanPeerStatus, "key", lambda r: r.spec.last_used_endpoint == "192.0.2.3:1")
        assert 5 <= trio.current_time() - began <= 7.1
        assert device.reads - reads >= 5
        assert "fd00::2" in device.probed
        device.peers["key"] = ObservedPeer(endpoint="192.0.2.3:1", last_handshake=trio.current_time() + 1)
        await node.eventually(KubeSpanPeerStatus, "key", lambda r: r.spec.state is PeerState.UP)


@pytest.mark.virtual_clock
@pytest.mark.parametrize("is_up", [False, True])
async def test_a_device_that_does_not_answer_is_asked_until_it_does_and_its_peers_stay_as_they_were(
    is_up: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    device = FakeDevice()
    controller = PeerStatusController(device, now=trio.current_time, wall=trio.current_time)
    async with running(controller) as node:
        if is_up:
            device.peers["key"] = ObservedPeer(endpoint="192.0.2.2:1", last_handshake=trio.current_time(), received=1)
        await node.create(KubeSpanPeerSpec.new("key", _peer("192.0.2.2:1", "192.0.2.3:1")))
        wanted = PeerState.UP if is_up else PeerState.UNKNOWN
        before = await node.eventually(KubeSpanPeerStatus, "key", lambda r: r.spec.state is wanted)
        device.is_silent = True
        await trio.sleep(400)
        assert node.state.get(KubeSpanPeerStatus, "key").spec.state is before.spec.state
        reads, device.is_silent = device.reads, False
        # After the reading that is under way, within a second.
        moved = await node.eventually(KubeSpanPeerStatus, "key", lambda r: r.spec != before.spec, within=12)
        assert moved.spec.state is not PeerState.UP
        assert moved.spec.last_used_endpoint == "192.0.2.3:1"
        assert device.reads > reads
        # Again, and soon: that is not said.
        device.is_silent = True
        await trio.sleep(60)
        device.is_silent = False
        await trio.sleep(60)
    said = capsys.readouterr().out
    assert said.count("the states of peers are not followed") == 1
    assert said.count("the states of peers are followed again") == 1
    assert "controller failed" not in said


@pytest.mark.virtual_clock
async def test_all_peers_of_a_device_that_does_not_answer_at_first_are_shown_once_it_does(
    capsys: pytest.CaptureFixture[str],
) -> None:
    device = FakeDevice()
    device.is_silent = True
    controller = PeerStatusController(device, now=trio.current_time, wall=trio.current_time)
    async with running(controller) as node:
        for number in range(20):
            observed = ObservedPeer(endpoint="192.0.2.2:1", last_handshake=trio.current_time(), received=1)
            device.peers[f"key{number}"] = observed
            await node.create(KubeSpanPeerSpec.new(f"key{number}", _peer("192.0.2.2:1")))
        await trio.sleep(60)
        assert not list(node.state.list(KubeSpanPeerStatus))
        # One after the other; not for each of the peers.
        assert device.reads <= 12
        device.is_silent = False
        for number in range(20):
            await node.eventually(KubeSpanPeerStatus, f"key{number}", lambda r: r.spec.state is PeerState.UP, within=12)
    said = capsys.readouterr().out
    assert said.count("the states of peers are not followed") == 1
    assert said.count("the states of peers are followed again") == 1
    assert "controller failed" not in said


@pytest.mark.virtual_clock
async def test_a_device_that_does_not_answer_is_not_asked_when_all_peers_are_gone() -> None:
    device = FakeDevice()
    device.is_silent = True
    controller = PeerStatusController(device, now=trio.current_time, wall=trio.current_time)
    async with running(controller) as node:
        for _ in range(2):
            for id in ("one", "two"):
                await node.create(KubeSpanPeerSpec.new(id, _peer("192.0.2.2:1")))
            await trio.sleep(60)
            for id in ("one", "two"):
                await node.destroy(KubeSpanPeerSpec, id)
            # The reading that is under way.
            await trio.sleep(20)
            reads = device.reads
            await trio.sleep(60)
            assert device.reads == reads
        device.is_silent = False
        await node.create(KubeSpanPeerSpec.new("one", _peer("192.0.2.2:1")))
        await node.eventually(KubeSpanPeerStatus, "one", within=1)


@pytest.mark.virtual_clock
async def test_one_that_has_answered_before_is_then_asked_now_and_then_whether_they_are_gone() -> None:
    device = FakeDevice()
    device.peers["one"] = ObservedPeer(endpoint="192.0.2.2:1", last_handshake=trio.current_time(), received=1)
    controller = PeerStatusController(device, now=trio.current_time, wall=trio.current_time)
    async with running(controller) as node:
        await node.create(KubeSpanPeerSpec.new("one", _peer("192.0.2.2:1")))
        await node.eventually(KubeSpanPeerStatus, "one", lambda r: r.spec.state is PeerState.UP)
        device.is_silent = True
        await node.destroy(KubeSpanPeerSpec, "one")
        await node.gone(KubeSpanPeerStatus, "one")
        reads = device.reads
        await trio.sleep(600)
        assert 10 <= device.reads - reads <= 20
        device.peers.clear()
        device.is_silent = False
        await trio.sleep(60)
        reads = device.reads
        await trio.sleep(60)
        assert device.reads == reads


@pytest.mark.virtual_clock
@pytest.mark.parametrize("stepped", [3600.0, -3600.0])
async def test_a_step_of_the_wall_clock_moves_the_times_shown_and_nothing_else(stepped: float) -> None:
    device = FakeDevice()
    offset = 1_000_000.0

    def wall() -> float:
        return trio.current_time() + offset

    controller = PeerStatusController(device, now=trio.current_time, wall=wall)
    async with running(controller) as node:
        device.peers["key"] = ObservedPeer(endpoint="192.0.2.2:1", last_handshake=wall(), received=92)
        await node.create(KubeSpanPeerSpec.new("key", _peer("192.0.2.2:1", "192.0.2.3:1")))
        before = await node.eventually(KubeSpanPeerStatus, "key", lambda r: r.spec.state is PeerState.UP)
        await trio.sleep(5)
        offset += stepped
        for _ in range(60):
            device.peers["key"] = attrs.evolve(device.peers["key"], received=device.peers["key"].received + 32)
            device.packets += 1
            await trio.sleep(1)
            after = node.state.get(KubeSpanPeerStatus, "key").spec
            assert (after.state, after.endpoint) == (PeerState.UP, "192.0.2.2:1")
        assert (after.last_handshake_time - before.spec.last_handshake_time).total_seconds() == stepped


@pytest.mark.virtual_clock
async def test_a_path_that_dies_under_traffic_is_left_within_15_seconds() -> None:
    device = FakeDevice()
    controller = PeerStatusController(device, now=trio.current_time, wall=trio.current_time)
    async with running(controller) as node:
        seen = ObservedPeer(endpoint="192.0.2.2:1", last_handshake=trio.current_time(), received=1000, sent=1000)
        device.peers["key"] = seen
        await node.create(KubeSpanPeerSpec.new("key", _peer("192.0.2.2:1", "192.0.2.3:1")))
        await node.eventually(KubeSpanPeerStatus, "key", lambda r: r.spec.state is PeerState.UP)
        # Up by an inbound handshake: no endpoint was forced upon the device.
        assert node.state.get(KubeSpanPeerStatus, "key").spec.last_used_endpoint == ""
        await trio.sleep(10)
        began = trio.current_time()
        while node.state.get(KubeSpanPeerStatus, "key").spec.last_used_endpoint == "":
            await trio.sleep(0.5)
            device.packets += 1
            device.peers["key"] = ObservedPeer(
                endpoint=seen.endpoint,
                last_handshake=seen.last_handshake,
                received=1000,
                sent=device.peers["key"].sent + 100,
            )
        assert trio.current_time() - began <= 15


@pytest.mark.virtual_clock
async def test_an_endpoint_within_the_tunnel_is_skipped_with_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    device = FakeDevice()
    device.tunnelled = {"192.0.2.2:1"}
    async with running(PeerStatusController(device, now=trio.current_time, wall=trio.current_time)) as node:
        await node.create(KubeSpanPeerSpec.new("key", _peer("192.0.2.2:1", "192.0.2.3:1")))
        status = await node.eventually(KubeSpanPeerStatus, "key")
        assert status.spec.last_used_endpoint == "192.0.2.3:1"
        await trio.sleep(30)
        assert node.state.get(KubeSpanPeerStatus, "key").spec.last_used_endpoint == "192.0.2.3:1"
    assert capsys.readouterr().out.count("leads into the tunnel") == 1


@pytest.mark.virtual_clock
async def test_an_endpoint_of_a_family_without_any_route_is_passed_over_at_once() -> None:
    device = FakeDevice()
    device.routeless = {"[2001:db8::2]:1", "[2001:db8::3]:21001", "192.0.2.9:1"}
    async with running(PeerStatusController(device, now=trio.current_time, wall=trio.current_time)) as node:

        async def first_used(*endpoints: str) -> str:
            await node.put(KubeSpanPeerSpec, endpoints[0], _peer(*endpoints))
            return (await node.eventually(KubeSpanPeerStatus, endpoints[0])).spec.last_used_endpoint

        await node.put(NodeAddress, "current-no-k8s", NodeAddressSpec(addresses=("192.0.2.1/24",)))
        await node.settled()
        assert await first_used("[2001:db8::2]:1", "192.0.2.3:1") == "192.0.2.3:1"
        # There is a route, for whatever reason.
        assert await first_used("[2001:db8::4]:1", "192.0.2.3:1") == "[2001:db8::4]:1"
        # The own family may get its route back.
        assert await first_used("192.0.2.9:1", "192.0.2.3:1") == "192.0.2.9:1"
        # A relay is reached by its stream.
        relay = KubeSpanRelayStatusSpec(addresses=("2001:db8::3",), ports=(21000, 24999))
        await node.put(KubeSpanRelayStatus, "relay.example.org:3443", relay)
        await node.settled()
        assert await first_used("[2001:db8::3]:21001", "192.0.2.3:1") == "[2001:db8::3]:21001"
        # Of two, the one that can be reached is kept to.
        await trio.sleep(60)
        assert node.state.get(KubeSpanPeerStatus, "[2001:db8::2]:1").spec.last_used_endpoint == "192.0.2.3:1"


@pytest.mark.virtual_clock
async def test_a_new_peer_waits_a_while_for_an_endpoint_that_can_be_reached() -> None:
    device, only = FakeDevice(), "[2001:db8::2]:1"
    device.routeless = {only, "[2001:db8::3]:21001"}
    async with running(PeerStatusController(device, now=trio.current_time, wall=trio.current_time)) as node:
        await node.put(NodeAddress, "current-no-k8s", NodeAddressSpec(addresses=("192.0.2.1/24",)))
        await node.settled()
        for key in ("gets one", "gets none"):
            await node.put(KubeSpanPeerSpec, key, _peer(only))
            status = await node.eventually(KubeSpanPeerStatus, key)
            assert (status.spec.last_used_endpoint, status.spec.state) == ("", PeerState.UNKNOWN)
        await trio.sleep(2)
        began = trio.current_time()
        await node.put(KubeSpanPeerSpec, "gets one", _peer(only, "192.0.2.3:1"))
        found = "192.0.2.3:1"
        await node.eventually(KubeSpanPeerStatus, "gets one", lambda r: r.spec.last_used_endpoint == found)
        assert trio.current_time() - began < 1
        # That one is all there is: it is tried, and the peer is down.
        await node.eventually(KubeSpanPeerStatus, "gets none", lambda r: r.spec.last_used_endpoint == only)
        assert 12 <= trio.current_time() - began <= 15
        await node.eventually(KubeSpanPeerStatus, "gets none", lambda r: r.spec.state is PeerState.DOWN)


@pytest.mark.virtual_clock
async def test_a_peer_that_waits_is_looked_at_once_its_address_turns_out_to_be_at_a_relay() -> None:
    device, endpoint = FakeDevice(), "[2001:db8::3]:21001"
    device.routeless = {endpoint}
    async with running(PeerStatusController(device, now=trio.current_time, wall=trio.current_time)) as node:
        await node.put(NodeAddress, "current-no-k8s", NodeAddressSpec(addresses=("192.0.2.1/24",)))
        await node.settled()
        await node.put(KubeSpanPeerSpec, "key", _peer(endpoint))
        await node.eventually(KubeSpanPeerStatus, "key")
        relay = KubeSpanRelayStatusSpec(addresses=("2001:db8::3",), ports=(21000, 24999))
        began = trio.current_time()
        await node.put(KubeSpanRelayStatus, "relay.example.org:3443", relay)
        await node.eventually(KubeSpanPeerStatus, "key", lambda r: r.spec.last_used_endpoint == endpoint)
        assert trio.current_time() - began < 1
        await node.destroy(KubeSpanPeerSpec, "key")
        await node.gone(KubeSpanPeerStatus, "key")


@pytest.mark.virtual_clock
async def test_the_status_goes_with_the_peer() -> None:
    async with running(PeerStatusController(FakeDevice(), now=trio.current_time, wall=trio.current_time)) as node:
        await node.create(KubeSpanPeerSpec.new("key", _peer("192.0.2.2:1")))
        await node.eventually(KubeSpanPeerStatus, "key")
        await node.destroy(KubeSpanPeerSpec, "key")
        await node.gone(KubeSpanPeerStatus, "key")
        await trio.sleep(60)


@pytest.mark.virtual_clock
@pytest.mark.parametrize("is_kept", [False, True])
async def test_a_peer_that_comes_back_is_not_what_it_was_before_it_left(is_kept: bool) -> None:
    """`is_kept`: the device did not lose the peer in between, nor its session."""
    device = FakeDevice()
    device.peers["key"] = ObservedPeer(endpoint="192.0.2.9:7", last_handshake=trio.current_time(), received=100)
    async with running(PeerStatusController(device, now=trio.current_time, wall=trio.current_time)) as node:
        await node.create(KubeSpanPeerSpec.new("key", _peer("192.0.2.2:1")))
        await node.eventually(KubeSpanPeerStatus, "key", lambda found: found.spec.state is PeerState.UP)
        await node.destroy(KubeSpanPeerSpec, "key")
        await node.gone(KubeSpanPeerStatus, "key")
        # Before the device is read again.
        await node.create(KubeSpanPeerSpec.new("key", _peer("192.0.2.2:1")))
        back = await node.eventually(KubeSpanPeerStatus, "key")
        assert (back.spec.state, back.spec.last_used_endpoint) == (PeerState.UNKNOWN, "192.0.2.2:1")
        if is_kept:
            # It answers the probes.
            for received in (132, 164):
                device.peers["key"] = attrs.evolve(device.peers["key"], endpoint="192.0.2.2:1", received=received)
                await trio.sleep(2)
        else:
            device.peers["key"] = ObservedPeer(endpoint="192.0.2.2:1", last_handshake=trio.current_time() + 1)
        await node.eventually(KubeSpanPeerStatus, "key", lambda found: found.spec.state is PeerState.UP)
        # A reading without it ends what was known.
        await node.destroy(KubeSpanPeerSpec, "key")
        del device.peers["key"]
        await trio.sleep(60)
        device.peers["key"] = ObservedPeer(endpoint="192.0.2.9:7", last_handshake=trio.current_time())
        await node.create(KubeSpanPeerSpec.new("other", _peer("192.0.2.4:1")))
        await trio.sleep(2)
        await node.create(KubeSpanPeerSpec.new("key", _peer("192.0.2.2:1")))
        again = await node.eventually(KubeSpanPeerStatus, "key")
        assert (again.spec.state, again.spec.endpoint) == (PeerState.UP, "192.0.2.9:7")


@pytest.mark.virtual_clock
async def test_endpoints_of_peers_that_are_up_are_harvested() -> None:
    device = FakeDevice()
    device.peers["key-a"] = ObservedPeer(endpoint="198.51.100.7:4242", last_handshake=trio.current_time())
    async with running(
        PeerStatusController(device, now=trio.current_time, wall=trio.current_time), EndpointController()
    ) as node:
        await node.put(KubeSpanConfig, KUBESPAN_CONFIG_ID, ENABLED)
        await node.put(Affiliate, "a", _affiliate("a", "192.0.2.2"))
        await node.create(KubeSpanPeerSpec.new("key-a", _peer("192.0.2.2:1")))
        harvested = await node.eventually(KubeSpanEndpoint, "key-a")
        assert harvested.spec == KubeSpanEndpointSpec(affiliate_id="a", endpoint="198.51.100.7:4242")
        await node.put(KubeSpanConfig, KUBESPAN_CONFIG_ID, KubeSpanConfigSpec(enabled=True))
        await node.gone(KubeSpanEndpoint, "key-a")
