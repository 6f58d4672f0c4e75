from typing import Any

import attrs

from nodespan.controllers.kubespan.manager import ManagerController, address_spec, rule_spec, spec_route_id
from nodespan.controllers.kubespan.manager import route_spec as route
from nodespan.controllers.kubespan.peer import PeerController, is_routed, routed_prefixes
from nodespan.controllers.kubespan.peer_state import Path
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
    KubeSpanPeerStatusSpec,
    KubeSpanRelayedEndpoint,
    KubeSpanRelayedEndpointSpec,
    KubeSpanRelayStatus,
    KubeSpanRelayStatusSpec,
    PeerState,
)
from nodespan.resources.network import (
    CONFIG_NAMESPACE,
    AddressSpec,
    ConfigLayer,
    Family,
    LinkSpec,
    NfTablesChain,
    NfTablesSetElements,
    RouteSpec,
    RoutingRuleSpec,
    WireguardPeerSpec,
    address_id,
    layered_id,
    routing_rule_id,
)
from nodespan.runtime.engine.queue_runner import QueueRunner
from nodespan.runtime.testing.kit import running
from tests.support.vectors import each, load

CONFIG = KubeSpanConfigSpec(enabled=True, cluster_id="cluster", shared_secret="preshared", mtu=1420)
IDENTITY = KubeSpanIdentitySpec(
    address="fd7f:175a:b97c:5602:e871:1bff:feb2:ccee/128",
    subnet="fd7f:175a:b97c:5602::/64",
    private_key="private",
    public_key="public",
)
PEER = KubeSpanPeerSpecSpec(
    address="fd00::2", allowed_ips=("192.0.2.2/32",), endpoints=("192.0.2.2:51820",), label="two"
)
KEY = "Zr5ewpUm2Ywo1c+/59WFKIBjZ3c/nVbIWsT5elbjwCU="


@each("routed_set")
def test_what_is_sent_into_the_tunnel(vector: dict[str, Any]) -> None:
    from nodespan.controllers.common.ip.blocks import IPSet, parse_network

    config = KubeSpanConfigSpec(force_routing=vector["force_routing"])
    prefixes = [
        prefix
        for peer in vector["peers"]
        if is_routed(config, PeerState(peer["state"]))
        for prefix in routed_prefixes(peer["allowed_ips"])
    ]
    # In the original one set of merged prefixes; here each peer has its own elements, which together are the same.
    merged = IPSet.of(map(parse_network, prefixes)).prefixes()
    assert [str(network) for network in merged] == vector["result"]


def test_ids_are_those_of_the_originals() -> None:
    ids = {vector["name"]: vector["id"] for vector in load("resource_id")}
    layer = ConfigLayer.OPERATOR
    assert layered_id(layer, address_id("kubespan", IDENTITY.address)) == ids["address"]
    assert layered_id(layer, spec_route_id(route(Family.INET4, 1420))) == ids["route-v4"]
    assert layered_id(layer, spec_route_id(route(Family.INET6, 1420))) == ids["route-v6"]
    assert layered_id(layer, routing_rule_id(Family.INET4, rule_spec(Family.INET4).priority)) == ids["rule-v4"]
    assert layered_id(layer, routing_rule_id(Family.INET6, rule_spec(Family.INET6).priority)) == ids["rule-v6"]


def test_the_address_carries_the_prefix_of_the_mesh() -> None:
    assert address_spec(IDENTITY).address == "fd7f:175a:b97c:5602:e871:1bff:feb2:ccee/64"


async def test_the_network_follows_the_switch() -> None:
    async with running(ManagerController()) as node:
        await node.put(KubeSpanConfig, KUBESPAN_CONFIG_ID, CONFIG)
        await node.put(KubeSpanIdentity, LOCAL, IDENTITY)
        link = await node.eventually(LinkSpec.within(CONFIG_NAMESPACE), "operator/kubespan")
        assert link.spec.wireguard is not None
        assert link.spec.wireguard.listen_port == 51820
        await node.eventually(NfTablesChain, "kubespan_outgoing")
        await node.settled()
        assert len(node.state.list(RouteSpec.within(CONFIG_NAMESPACE))) == 2
        assert len(node.state.list(RoutingRuleSpec.within(CONFIG_NAMESPACE))) == 2
        await node.put(KubeSpanConfig, KUBESPAN_CONFIG_ID, KubeSpanConfigSpec())
        await node.gone(NfTablesChain, "kubespan_outgoing")
        await node.settled()
        for kind in (LinkSpec, AddressSpec, RouteSpec, RoutingRuleSpec):
            assert node.state.list(kind.within(CONFIG_NAMESPACE)) == []


async def test_a_peer_that_joins_is_one_peer_and_its_elements() -> None:
    async with running(PeerController()) as node:
        await node.put(KubeSpanConfig, KUBESPAN_CONFIG_ID, CONFIG)
        await node.put(KubeSpanIdentity, LOCAL, IDENTITY)
        await node.create(KubeSpanPeerSpec.new(KEY, PEER))
        await node.create(
            KubeSpanPeerStatus.new(
                KEY, KubeSpanPeerStatusSpec(endpoint="192.0.2.2:51820", last_used_endpoint="192.0.2.2:51820")
            )
        )
        peer = await node.eventually(WireguardPeerSpec, f"kubespan/{KEY}")
        assert (peer.spec.preshared_key, peer.spec.endpoint) == ("preshared", "192.0.2.2:51820")
        elements = await node.eventually(NfTablesSetElements, f"kubespan_routed/{KEY}")
        assert elements.spec.prefixes == ("192.0.2.2/32",)
        # The peer roamed: what the device found is left to it.
        await node.put(
            KubeSpanPeerStatus,
            KEY,
            KubeSpanPeerStatusSpec(endpoint="198.51.100.1:4242", last_used_endpoint="192.0.2.2:51820"),
        )
        await node.eventually(WireguardPeerSpec, f"kubespan/{KEY}", lambda resource: resource.spec.endpoint == "")
        await node.destroy(KubeSpanPeerSpec, KEY)
        await node.gone(WireguardPeerSpec, f"kubespan/{KEY}")
        await node.gone(NfTablesSetElements, f"kubespan_routed/{KEY}")


async def test_a_peer_whose_endpoint_is_at_a_relay_has_the_local_address_while_there_is_one() -> None:
    there, elsewhere = "203.0.113.9:21007", "192.0.2.2:51820"
    async with running(PeerController()) as node:
        await node.put(KubeSpanConfig, KUBESPAN_CONFIG_ID, CONFIG)
        await node.put(KubeSpanIdentity, LOCAL, IDENTITY)
        await node.create(KubeSpanPeerSpec.new(KEY, PEER))
        relayed = KubeSpanRelayedEndpointSpec(endpoint=there, relay="relay:3443", requested=True)
        await node.put(KubeSpanRelayedEndpoint, "127.0.0.1:40001", relayed)

        async def given(expected: str) -> None:
            await node.eventually(WireguardPeerSpec, f"kubespan/{KEY}", lambda peer: peer.spec.endpoint == expected)

        for endpoint, expected in ((elsewhere, elsewhere), (there, "127.0.0.1:40001")):
            status = KubeSpanPeerStatusSpec(endpoint=endpoint, last_used_endpoint=endpoint)
            await node.put(KubeSpanPeerStatus, KEY, status)
            await given(expected)
        await node.destroy(KubeSpanRelayedEndpoint, "127.0.0.1:40001")
        await given(there)
        await node.put(KubeSpanRelayedEndpoint, "127.0.0.1:40002", relayed)
        await given("127.0.0.1:40002")


def test_a_relayed_endpoint_of_a_stranger_costs_nothing_for_each_peer() -> None:
    relayed: Any = KubeSpanRelayedEndpoint.new("127.0.0.1:1", KubeSpanRelayedEndpointSpec(endpoint="192.0.2.9:1"))
    statuses: list[Any] = [
        KubeSpanPeerStatus.new(f"peer {number}", KubeSpanPeerStatusSpec(last_used_endpoint=f"192.0.2.{number}:1"))
        for number in (8, 9, 10)
    ]

    class Context:
        """Finds what there is, and has no lists."""

        def find(self, _kind: object, id: str) -> Any:
            return next((each for each in (relayed, *statuses) if each.id == id), None)

    ctx: Any = Context()
    controller = PeerController()
    for status in statuses:
        controller.map_input(ctx, status.metadata)
    assert [each.id for each in controller.map_input(ctx, relayed.metadata)] == ["peer 9"]
    gone = statuses.pop(1)
    controller.map_input(ctx, gone.metadata)
    assert list(controller.map_input(ctx, relayed.metadata)) == []


async def test_a_peer_that_is_down_may_be_bypassed() -> None:
    bypass = KubeSpanConfigSpec(enabled=True, cluster_id="cluster", force_routing=False)
    async with running(PeerController()) as node:
        await node.put(KubeSpanConfig, KUBESPAN_CONFIG_ID, bypass)
        await node.put(KubeSpanIdentity, LOCAL, IDENTITY)
        await node.create(KubeSpanPeerSpec.new(KEY, PEER))
        await node.put(KubeSpanPeerStatus, KEY, KubeSpanPeerStatusSpec(state=PeerState.DOWN))
        await node.eventually(WireguardPeerSpec, f"kubespan/{KEY}")
        await node.settled()
        assert node.state.find(NfTablesSetElements, f"kubespan_routed/{KEY}") is None
        await node.put(KubeSpanPeerStatus, KEY, KubeSpanPeerStatusSpec(state=PeerState.UP))
        await node.eventually(NfTablesSetElements, f"kubespan_routed/{KEY}")


async def test_a_status_that_only_counts_more_bytes_makes_no_peer_again() -> None:
    async with running(PeerController()) as node:
        await node.put(KubeSpanConfig, KUBESPAN_CONFIG_ID, CONFIG)
        await node.put(KubeSpanIdentity, LOCAL, IDENTITY)
        await node.create(KubeSpanPeerSpec.new(KEY, PEER))
        runner = node.engine.runners[PeerController.name]
        assert isinstance(runner, QueueRunner)

        async def made_by(status: KubeSpanPeerStatusSpec) -> int:
            before = runner.jobs.processed
            await node.put(KubeSpanPeerStatus, KEY, status)
            await node.settled()
            return runner.jobs.processed - before

        up = KubeSpanPeerStatusSpec(state=PeerState.UP, endpoint="192.0.2.9:7", label="two")
        assert await made_by(up)
        for sent in range(100, 500, 100):
            assert not await made_by(attrs.evolve(up, transmit_bytes=sent, receive_bytes=sent))
        moved = attrs.evolve(up, state=PeerState.DOWN, last_used_endpoint="192.0.2.10:7", endpoint="192.0.2.10:7")
        assert await made_by(moved)
        peer = await node.eventually(WireguardPeerSpec, f"kubespan/{KEY}")
        assert peer.spec.endpoint == "192.0.2.10:7"
        # One that is gone and comes back as it was is another.
        await node.destroy(KubeSpanPeerStatus, KEY)
        await node.gone(WireguardPeerSpec, f"kubespan/{KEY}")
        assert await made_by(moved)
        await node.eventually(WireguardPeerSpec, f"kubespan/{KEY}")
        # With a relay, whether a peer answers elsewhere depends on what was received.
        await node.put(KubeSpanRelayStatus, "relay.example.org:3443", KubeSpanRelayStatusSpec())
        await node.settled()
        assert await made_by(attrs.evolve(moved, receive_bytes=900))


async def test_an_output_with_a_finalizer_is_created_again_when_it_is_released() -> None:
    async with running(PeerController()) as node:
        await node.put(KubeSpanConfig, KUBESPAN_CONFIG_ID, CONFIG)
        await node.put(KubeSpanIdentity, LOCAL, IDENTITY)
        await node.create(KubeSpanPeerSpec.new(KEY, PEER))
        await node.put(KubeSpanPeerStatus, KEY, KubeSpanPeerStatusSpec())
        await node.eventually(WireguardPeerSpec, f"kubespan/{KEY}")
        await node.state.add_finalizer(WireguardPeerSpec, f"kubespan/{KEY}", "the applier")
        await node.put(KubeSpanConfig, KUBESPAN_CONFIG_ID, KubeSpanConfigSpec())
        await node.settled()
        await node.put(KubeSpanConfig, KUBESPAN_CONFIG_ID, CONFIG)
        await node.settled()
        assert node.state.get(WireguardPeerSpec, f"kubespan/{KEY}").metadata.is_tearing_down
        await node.state.remove_finalizer(WireguardPeerSpec, f"kubespan/{KEY}", "the applier")
        await node.eventually(
            WireguardPeerSpec, f"kubespan/{KEY}", lambda resource: not resource.metadata.is_tearing_down
        )


def test_an_endpoint_is_set_again_where_the_device_lost_it() -> None:
    assert Path(endpoint="", last_used="192.0.2.2:1").desired_endpoint == "192.0.2.2:1"
