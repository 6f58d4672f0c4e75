"""The star of WireGuard devices that a cluster is configured with."""

from ipaddress import ip_network

import pytest

from nodespan.cluster.node_configs import node_configs
from nodespan.cluster.plan import Plan
from nodespan.controllers.config.loading import load
from nodespan.controllers.membership.machine_config import NodePart
from nodespan.kernel.wireguard.keys import public_key_of
from nodespan.resources.config import KubeSpanConfig
from nodespan.resources.config.device import Device, DeviceWireguard
from nodespan.resources.config.kubespan import KubeSpanFilters

NETWORK = ip_network("10.99.0.0/24")


def devices(plan: Plan) -> dict[str, tuple[Device, DeviceWireguard]]:
    """By name of the node, what its configuration is read as."""
    found = {}
    for node, text in node_configs(plan).items():
        loaded = load(text)
        assert (loaded.problems, loaded.ignored) == ((), ())
        (device,) = loaded.config.machine.network.interfaces
        assert device.wireguard is not None
        found[node.name] = (device, device.wireguard)
    return found


def peers(plan: Plan) -> dict[str, dict[str, str]]:
    """Whom each node knows, and at which endpoint."""
    found = devices(plan)
    names = {public_key_of(wireguard.private_key): name for name, (_, wireguard) in found.items()}
    return {
        name: {names[peer.public_key]: peer.endpoint for peer in wireguard.peers}
        for name, (_, wireguard) in found.items()
    }


def test_all_nodes_connect_to_the_control_planes_and_workers_to_nothing_else() -> None:
    assert peers(Plan(size=4, control_planes=2, wireguard=NETWORK)) == {
        "a": {"b": "198.51.100.12:51111", "c": "", "d": ""},
        "b": {"a": "198.51.100.11:51111", "c": "", "d": ""},
        "c": {"a": "198.51.100.11:51111", "b": "198.51.100.12:51111"},
        "d": {"a": "198.51.100.11:51111", "b": "198.51.100.12:51111"},
    }


def test_a_control_plane_behind_nat_initiates_its_connections() -> None:
    assert peers(Plan(size=2, control_planes=2, wireguard=NETWORK)) == {
        "a": {"b": ""},
        "b": {"a": "198.51.100.11:51111"},
    }


def test_only_control_planes_listen_on_a_known_port() -> None:
    found = devices(Plan(wireguard=NETWORK))
    assert {name: wireguard.listen_port for name, (_, wireguard) in found.items()} == {"a": 51111, "b": 0, "c": 0}


@pytest.mark.parametrize(("size", "control_planes"), [(2, 1), (2, 2), (3, 1), (3, 2), (3, 3), (5, 3), (12, 3)])
def test_each_node_has_one_address_and_peers_allow_only_that(size: int, control_planes: int) -> None:
    plan = Plan(size=size, control_planes=control_planes, wireguard=NETWORK)
    found = devices(plan)
    addresses = {
        public_key_of(wireguard.private_key): address
        for device, wireguard in found.values()
        for address in device.addresses
    }
    assert len(set(addresses.values())) == size
    assert {address.partition("/")[2] for address in addresses.values()} == {"24"}
    for _, wireguard in found.values():
        for peer in wireguard.peers:
            assert peer.allowed_ips == (addresses[peer.public_key].replace("/24", "/32"),)
            assert peer.persistent_keepalive_interval.total_seconds() == 5


def test_addresses_may_be_of_either_family() -> None:
    device, wireguard = devices(Plan(wireguard=ip_network("fd00:99::/64")))["b"]
    assert device.addresses == ("fd00:99::2/64",)
    assert wireguard.peers[0].allowed_ips == ("fd00:99::1/128",)


def test_kubespan_is_omitted_unless_planned() -> None:
    texts = node_configs(Plan(kubespan=False, wireguard=NETWORK)).values()
    assert not any("KubeSpanConfig" in text for text in texts)


def test_kubespan_and_wireguard_devices_do_not_overlap() -> None:
    for text in node_configs(Plan(wireguard=NETWORK)).values():
        (kubespan,) = load(text).config.documents_of(KubeSpanConfig)
        assert kubespan.filters == KubeSpanFilters(
            endpoints=("0.0.0.0/0", "::/0", "!10.99.0.0/24"), exclude_advertised_networks=("10.99.0.0/24",)
        )


def test_the_first_nodes_are_control_planes() -> None:
    configs = node_configs(Plan(size=3, control_planes=2))
    types = [load(text).config.machine.type for text in configs.values()]
    assert types == ["controlplane", "controlplane", "worker"]


def test_a_nodes_repr_hides_its_private_key() -> None:
    assert "secret" not in repr(NodePart(interfaces=({"wireguard": {"privateKey": "secret"}},)))


def test_without_a_wireguard_network_there_are_no_tunnel_addresses() -> None:
    plan = Plan()
    with pytest.raises(ValueError, match="has no WireGuard network"):
        plan.wireguard_address(plan.nodes[0])
