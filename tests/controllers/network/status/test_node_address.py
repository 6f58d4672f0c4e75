"""Which addresses of a node are in which list."""

import pytest

from nodespan.controllers.network.status.address_filter import AddressFilterController, address_filters
from nodespan.controllers.network.status.node_address import NodeAddressController
from nodespan.resources.config import (
    MACHINE_CONFIG_ID,
    Cluster,
    ClusterNetwork,
    KubeNetworkConfig,
    MachineConfig,
    MachineConfigSpec,
    MainDocument,
    NodespanConfig,
)
from nodespan.resources.network import (
    EXTERNAL_LINK,
    AddressStatus,
    AddressStatusSpec,
    Family,
    LinkStatus,
    LinkStatusSpec,
    LinkType,
    NetworkProblem,
    NodeAddress,
    NodeAddressFilter,
    NodeAddressFilterSpec,
    OperationalState,
    Scope,
    address_id,
)
from nodespan.runtime.testing.kit import Node, running

UP = LinkStatusSpec(index=2, type=LinkType.ETHER, operational_state=OperationalState.UP, link_state=True)
DOWN = LinkStatusSpec(index=3, type=LinkType.ETHER, operational_state=OperationalState.DOWN)
DOCKER = LinkStatusSpec(index=4, kind="bridge", operational_state=OperationalState.UP)


async def put_address(node: Node, link: str, address: str) -> None:
    family = Family.INET6 if ":" in address else Family.INET4
    scope = Scope.LINK if address.startswith("fe80") else Scope.HOST if link == "lo" else Scope.GLOBAL
    spec = AddressStatusSpec(address=address, link_name=link, family=family, scope=scope)
    await node.put(AddressStatus, address_id(link, address), spec)


def addresses_of(node: Node) -> dict[str, tuple[str, ...]]:
    return {found.id: found.spec.addresses for found in node.state.list(NodeAddress)}


async def test_the_lists_of_the_originals_example() -> None:
    # The example of the originals: eth1 has no carrier, and a cloud translates two addresses to the node.
    nic = ("10.0.0.1/8", "25.3.7.9/32")
    ipv6, siderolink = "2001:470:6d:30e:4a62:b3ba:180b:b5b8/64", "fdae:41e4:649b:9303:7886:731d:1ce9:4d4/128"
    elsewhere = "1.2.3.4/32"
    async with running(NodeAddressController()) as node:
        await node.put(LinkStatus, "eth0", UP)
        await node.put(LinkStatus, "eth1", DOWN)
        for address in (elsewhere, "25.3.7.9/32"):
            await put_address(node, EXTERNAL_LINK, address)
        for address in (*nic, ipv6, siderolink, "fe80::1/64"):
            await put_address(node, "eth0", address)
        for address in ("10.0.0.2/8", "192.168.3.7/24"):
            await put_address(node, "eth1", address)
        await put_address(node, "lo", "127.0.0.1/8")
        await node.put(NodeAddressFilter, "no-k8s", NodeAddressFilterSpec(exclude_subnets=("10.0.0.0/8",)))
        only = NodeAddressFilterSpec(include_subnets=("10.0.0.0/8", "192.168.0.0/16"))
        await node.put(NodeAddressFilter, "only-k8s", only)
        await node.settled()
        assert addresses_of(node) == {
            "default": ("10.0.0.1/8",),
            "current": (elsewhere, *nic, ipv6, siderolink),
            "routed": (*nic, ipv6),
            "accumulative": (elsewhere, "10.0.0.1/8", "10.0.0.2/8", "25.3.7.9/32", "192.168.3.7/24", ipv6, siderolink),
            "current-no-k8s": (elsewhere, "25.3.7.9/32", ipv6, siderolink),
            "routed-no-k8s": ("25.3.7.9/32", ipv6),
            "accumulative-no-k8s": (elsewhere, "25.3.7.9/32", "192.168.3.7/24", ipv6, siderolink),
            "current-only-k8s": ("10.0.0.1/8",),
            "routed-only-k8s": ("10.0.0.1/8",),
            "accumulative-only-k8s": ("10.0.0.1/8", "10.0.0.2/8", "192.168.3.7/24"),
        }


async def test_addresses_elsewhere_alone_are_current_and_neither_routed_nor_the_default() -> None:
    async with running(NodeAddressController(), AddressFilterController()) as node:
        await node.put(MachineConfig, MACHINE_CONFIG_ID, MachineConfigSpec())
        await put_address(node, EXTERNAL_LINK, "203.0.113.9/32")
        await node.settled()
        found = addresses_of(node)
        assert found["current-no-k8s"] == found["accumulative-no-k8s"] == ("203.0.113.9/32",)
        assert found["routed"] == found["routed-no-k8s"] == found["current-only-k8s"] == ()
        assert "default" not in found
        assert node.state.list(NetworkProblem) == []
        # Elsewhere, and on a link too.
        await node.put(LinkStatus, "eth0", UP)
        await put_address(node, "eth0", "203.0.113.9/32")
        await node.settled()
        assert addresses_of(node)["routed"] == addresses_of(node)["default"] == ("203.0.113.9/32",)


async def test_a_link_that_is_called_external_is_a_link() -> None:
    async with running(NodeAddressController()) as node:
        await put_address(node, EXTERNAL_LINK, "192.0.2.7/24")
        await node.put(LinkStatus, EXTERNAL_LINK, DOWN)
        await node.settled()
        assert addresses_of(node) == {"accumulative": ("192.0.2.7/24",), "current": (), "routed": ()}
        await node.put(LinkStatus, EXTERNAL_LINK, UP)
        await node.settled()
        assert addresses_of(node)["routed"] == addresses_of(node)["default"] == ("192.0.2.7/24",)


async def test_container_bridges_are_not_the_node_while_they_are_up_and_after() -> None:
    async with running(NodeAddressController(), AddressFilterController()) as node:
        await node.put(MachineConfig, MACHINE_CONFIG_ID, MachineConfigSpec())
        await node.put(LinkStatus, "eth0", UP)
        await node.put(LinkStatus, "docker0", DOCKER)
        await put_address(node, "eth0", "192.0.2.7/24")
        await put_address(node, "docker0", "172.17.0.1/16")
        await node.settled()
        both, own = ("172.17.0.1/16", "192.0.2.7/24"), ("192.0.2.7/24",)
        for _ in range(2):
            found = addresses_of(node)
            assert (found["accumulative"], found["default"]) == (both, own)
            assert [found[f"{kind}-no-k8s"] for kind in ("current", "routed", "accumulative")] == [own] * 3
            assert [found[f"{kind}-only-k8s"] for kind in ("current", "routed", "accumulative")] == [()] * 3
            for id in (address_id("docker0", "172.17.0.1/16"),):
                if node.state.find(AddressStatus, id) is not None:
                    await node.destroy(AddressStatus, id)
            await node.settled()
        # The operator gives it to a link of the node's own.
        await put_address(node, "eth0", "172.17.0.1/16")
        await node.settled()
        assert addresses_of(node)["accumulative-no-k8s"] == both


async def test_a_node_whose_addresses_are_all_those_of_pods_has_a_problem() -> None:
    network = ClusterNetwork(pod_subnets=("192.0.2.0/24",))
    async with running(NodeAddressController(), AddressFilterController()) as node:
        config = MachineConfigSpec(main=MainDocument(cluster=Cluster(network=network)))
        await node.put(MachineConfig, MACHINE_CONFIG_ID, config)
        await node.put(LinkStatus, "eth0", UP)
        await put_address(node, "eth0", "192.0.2.7/24")
        await node.settled()
        (problem,) = node.state.list(NetworkProblem)
        assert "no address is left to announce to other nodes: 192.0.2.7/24 lie in" in problem.spec.message
        await node.destroy(MachineConfig, MACHINE_CONFIG_ID)
        await node.settled()
        assert node.state.list(NetworkProblem) == []
        assert sorted(addresses_of(node)) == ["accumulative", "current", "default", "routed"]


def both_filters(*subnets: str) -> dict[str, NodeAddressFilterSpec]:
    return {
        "no-k8s": NodeAddressFilterSpec(exclude_subnets=subnets),
        "only-k8s": NodeAddressFilterSpec(include_subnets=subnets)
        if subnets
        else NodeAddressFilterSpec(exclude_subnets=("0.0.0.0/0", "::/0")),
    }


DUAL = KubeNetworkConfig(
    pod_subnets=("10.32.0.0/12", "fd00:10:32::/102"), service_subnets=("10.200.0.0/22", "fd40:10:200::/112")
)


@pytest.mark.parametrize(
    ("network", "documents", "own", "subnets"),
    [
        (None, (), (), ()),
        (None, (), ("192.168.0.0/24",), ("192.168.0.0/24",)),
        (ClusterNetwork(), (), (), ("10.244.0.0/16", "10.96.0.0/12")),
        (ClusterNetwork(service_subnets=("10.96.7.1/12",)), (), (), ("10.244.0.0/16", "10.96.0.0/12")),
        (
            *(None, (DUAL,), ("192.168.0.0/24",)),
            ("10.32.0.0/12", "fd00:10:32::/102", "192.168.0.0/24", "10.200.0.0/22", "fd40:10:200::/112"),
        ),
    ],
)
def test_the_filters_of_a_configuration(
    network: ClusterNetwork | None,
    documents: tuple[KubeNetworkConfig, ...],
    own: tuple[str, ...],
    subnets: tuple[str, ...],
) -> None:
    config = MachineConfigSpec(
        main=MainDocument(cluster=Cluster(network=network)),
        documents=documents,
        nodespan=NodespanConfig(pod_networks=own),
    )
    assert address_filters(config) == both_filters(*subnets)
