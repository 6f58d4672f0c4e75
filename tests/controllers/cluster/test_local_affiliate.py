"""What a node says of itself."""

import attrs
import pytest

from nodespan.controllers.cluster.local_affiliate import LocalAffiliateController
from nodespan.resources.cluster import (
    DISCOVERY_CONFIG_ID,
    LOCAL,
    NAMESPACE,
    PUBLIC_ADDRESS_ID,
    Affiliate,
    AffiliateSpec,
    DiscoveryConfig,
    DiscoveryConfigSpec,
    DiscoveryService,
    Identity,
    IdentitySpec,
    KubeSpanAffiliate,
    MachineType,
)
from nodespan.resources.config import MACHINE_CONFIG_ID, Layer2VIPConfig, MachineConfig
from nodespan.resources.kubespan import (
    KUBESPAN_CONFIG_ID,
    KubeSpanConfig,
    KubeSpanConfigSpec,
    KubeSpanIdentity,
    KubeSpanIdentitySpec,
    KubeSpanPortMapping,
    KubeSpanPortMappingSpec,
)
from nodespan.resources.network import (
    HOSTNAME_ID,
    AddressStatus,
    AddressStatusSpec,
    HostnameStatus,
    HostnameStatusSpec,
    NodeAddress,
    NodeAddressSpec,
)
from nodespan.runtime.testing.kit import Node, running
from tests.controllers.cluster.samples import affiliate, machine_config

NAME = "cluster.LocalAffiliateController"
ULA = "fd7f:175a:b97c:5602:e871:1bff:feb2:ccee"
CURRENT = ("10.5.0.1/24", f"{ULA}/64", "fdae:41e4:649b:9303::1/128")
CONFIG = DiscoveryConfigSpec(service_endpoints=(DiscoveryService(name="one", endpoint="a:443"),))
KUBESPAN = KubeSpanConfigSpec(
    enabled=True, extra_endpoints=("1.2.3.4:5678",), exclude_advertised_networks=("10.9.0.0/16",)
)


async def set_up(node: Node) -> None:
    await node.put(DiscoveryConfig, DISCOVERY_CONFIG_ID, CONFIG)
    await node.put(Identity, LOCAL, IdentitySpec(node_id="me"))
    await node.put(HostnameStatus, HOSTNAME_ID, HostnameStatusSpec(hostname="host", domainname="example.org"))
    await node.put(NodeAddress, "current-no-k8s", NodeAddressSpec(addresses=CURRENT))
    await node.put(NodeAddress, "routed-no-k8s", NodeAddressSpec(addresses=CURRENT[:-1]))
    await node.put(MachineConfig, MACHINE_CONFIG_ID, machine_config(pods=("10.244.3.0/24",)))


async def set_up_kubespan(node: Node) -> None:
    await node.put(KubeSpanConfig, KUBESPAN_CONFIG_ID, KUBESPAN)
    await node.put(KubeSpanIdentity, LOCAL, KubeSpanIdentitySpec(address=f"{ULA}/128", public_key="key"))


async def test_a_node_without_a_mesh_announces_names_and_addresses() -> None:
    async with running(LocalAffiliateController(version="v1.0.0")) as node:
        await set_up(node)
        await node.eventually(
            Affiliate,
            "me",
            spec=AffiliateSpec(
                node_id="me",
                addresses=("10.5.0.1", ULA),
                hostname="host.example.org",
                nodename="host",
                operating_system="nodespan (v1.0.0)",
                machine_type=MachineType.WORKER,
            ),
        )


async def test_a_mesh_node_also_announces_endpoints() -> None:
    async with running(LocalAffiliateController(version="v1.0.0")) as node:
        await set_up(node)
        await set_up_kubespan(node)
        public = AddressStatusSpec(address="203.0.113.7/32")
        await node.create(AddressStatus.new(PUBLIC_ADDRESS_ID, public, namespace=NAMESPACE))
        part = KubeSpanAffiliate(
            public_key="key",
            address=ULA,
            endpoints=("10.5.0.1:51820", "203.0.113.7:51820", "1.2.3.4:5678"),
            exclude_advertised_networks=("10.9.0.0/16",),
        )
        await node.eventually(Affiliate, "me", lambda found: found.spec.kubespan == part)
        await node.put(
            KubeSpanConfig,
            KUBESPAN_CONFIG_ID,
            attrs.evolve(KUBESPAN, advertise_kubernetes_networks=True, endpoint_filters=("203.0.113.0/24",)),
        )
        part = attrs.evolve(
            part, endpoints=("203.0.113.7:51820", "1.2.3.4:5678"), additional_addresses=("10.244.3.0/24",)
        )
        await node.eventually(Affiliate, "me", lambda found: found.spec.kubespan == part)
        await node.destroy(KubeSpanIdentity, LOCAL)
        await node.eventually(Affiliate, "me", lambda found: found.spec.kubespan is None)


async def test_what_the_router_lets_in_is_announced_before_what_discovery_sees() -> None:
    async with running(LocalAffiliateController(version="v1.0.0")) as node:
        await set_up(node)
        await set_up_kubespan(node)
        public = AddressStatusSpec(address="203.0.113.7/32")
        await node.create(AddressStatus.new(PUBLIC_ADDRESS_ID, public, namespace=NAMESPACE))
        mapping = KubeSpanPortMappingSpec(external="203.0.113.7:40001")
        await node.put(KubeSpanPortMapping, LOCAL, mapping)
        endpoints = ("10.5.0.1:51820", "203.0.113.7:40001", "203.0.113.7:51820", "1.2.3.4:5678")
        await node.eventually(
            Affiliate,
            "me",
            lambda found: found.spec.kubespan is not None and found.spec.kubespan.endpoints == endpoints,
        )
        # A router that keeps the port has the same endpoint as the guess.
        await node.put(KubeSpanPortMapping, LOCAL, attrs.evolve(mapping, external="203.0.113.7:51820"))
        await node.eventually(
            Affiliate,
            "me",
            lambda found: (
                found.spec.kubespan is not None and found.spec.kubespan.endpoints == (endpoints[0], *endpoints[2:])
            ),
        )


async def test_a_virtual_ip_is_announced_as_an_address_but_not_as_an_endpoint() -> None:
    async with running(LocalAffiliateController(version="v1.0.0")) as node:
        await set_up(node)
        await set_up_kubespan(node)
        vip = Layer2VIPConfig(name="10.5.0.100", link="eth0")
        await node.put(MachineConfig, MACHINE_CONFIG_ID, machine_config(vip))
        await node.put(NodeAddress, "current-no-k8s", NodeAddressSpec(addresses=("10.5.0.1/24", "10.5.0.100/32")))
        await node.put(NodeAddress, "routed-no-k8s", NodeAddressSpec(addresses=("10.5.0.1/24", "10.5.0.100/32")))
        endpoints = ("10.5.0.1:51820", "1.2.3.4:5678")
        await node.eventually(
            Affiliate,
            "me",
            lambda found: (
                found.spec.addresses == ("10.5.0.1", "10.5.0.100")
                and found.spec.kubespan is not None
                and found.spec.kubespan.endpoints == endpoints
            ),
        )


@pytest.mark.parametrize(
    ("kind", "id"),
    [
        (DiscoveryConfig, DISCOVERY_CONFIG_ID),
        (Identity, LOCAL),
        (HostnameStatus, HOSTNAME_ID),
        (NodeAddress, "current-no-k8s"),
        (NodeAddress, "routed-no-k8s"),
        (MachineConfig, MACHINE_CONFIG_ID),
    ],
)
async def test_nothing_is_announced_before_all_inputs_are_ready(kind: object, id: str) -> None:
    async with running(LocalAffiliateController(version="v1.0.0")) as node:
        await set_up(node)
        await node.eventually(Affiliate, "me")
        await node.destroy(kind, id)  # type: ignore[arg-type]
        await node.gone(Affiliate, "me")


async def test_nothing_is_announced_without_a_discovery_service() -> None:
    async with running(LocalAffiliateController(version="v1.0.0")) as node:
        await set_up(node)
        await node.eventually(Affiliate, "me")
        await node.put(DiscoveryConfig, DISCOVERY_CONFIG_ID, DiscoveryConfigSpec())
        await node.gone(Affiliate, "me")


async def test_a_node_with_a_new_id_drops_its_old_affiliate() -> None:
    async with running(LocalAffiliateController(version="v1.0.0")) as node:
        await node.create(Affiliate.new("earlier", affiliate("earlier")), owner=NAME)
        await node.create(Affiliate.new("other", affiliate("other")), owner="cluster.AffiliateMergeController")
        await set_up(node)
        await node.eventually(Affiliate, "me")
        await node.put(Identity, LOCAL, IdentitySpec(node_id="new"))
        await node.eventually(Affiliate, "new")
        await node.gone(Affiliate, "me")
        assert node.state.find(Affiliate, "other") is not None
    # What an earlier process left is found at the start of a run only.
    async with running(LocalAffiliateController(version="v1.0.0"), state=node.state) as again:
        await again.gone(Affiliate, "earlier")
        await again.eventually(Affiliate, "new")
