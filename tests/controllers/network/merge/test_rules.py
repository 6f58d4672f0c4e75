"""How layers become one wish."""

from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodespan.controllers.network.merge.rules import last_wins, merge_addresses, merge_links
from nodespan.resources.network import (
    VLAN,
    AddressFlags,
    AddressSpecSpec,
    BondMaster,
    BridgeSlave,
    ConfigLayer,
    LinkSpecSpec,
    LinkType,
    WireguardPeer,
    WireguardSpec,
)
from nodespan.resources.network.enums import BondMode

LOW, HIGH = ConfigLayer.DEFAULT, ConfigLayer.CONFIGURATION


def link(layer: ConfigLayer, **fields: Any) -> LinkSpecSpec:
    return LinkSpecSpec(name="eth0", layer=layer, **fields)


def peer(key: str, endpoint: str = "") -> WireguardPeer:
    return WireguardPeer(public_key=key, endpoint=endpoint)


@pytest.mark.parametrize(
    ("lower", "higher", "merged"),
    [
        ({"mtu": 1400}, {}, {"mtu": 1400}),
        ({"mtu": 1400}, {"mtu": 9000}, {"mtu": 9000}),
        ({"up": True}, {"up": False}, {"up": True}),
        ({}, {"up": True, "logical": True}, {"up": True, "logical": True}),
        ({"kind": "dummy", "type": LinkType.ETHER}, {}, {"kind": "dummy", "type": LinkType.ETHER}),
        ({"type": LinkType.ETHER}, {"type": LinkType.NOHDR}, {"type": LinkType.NOHDR}),
        ({"parent_name": "a"}, {"parent_name": "b"}, {"parent_name": "b"}),
        ({"hardware_addr": "02:00:00:00:00:01"}, {}, {"hardware_addr": "02:00:00:00:00:01"}),
        (
            {"master_name": "bond0", "slave_index": 3},
            {"master_name": "bond1"},
            {"master_name": "bond1", "slave_index": 0},
        ),
        ({"master_name": "bond0", "slave_index": 3}, {}, {"master_name": "bond0", "slave_index": 3}),
        (
            {"bridge_slave": BridgeSlave(master_name="br0")},
            {"bridge_slave": BridgeSlave(master_name="br1")},
            {"bridge_slave": BridgeSlave(master_name="br1")},
        ),
        (
            {"bond_master": BondMaster(mode=BondMode.TLB, miimon=100)},
            {"bond_master": BondMaster(mode=BondMode.ALB)},
            {"bond_master": BondMaster(mode=BondMode.ALB)},
        ),
        ({"vlan": VLAN(vlan_id=5)}, {"vlan": VLAN(vlan_id=6)}, {"vlan": VLAN(vlan_id=6)}),
        ({"multicast": True}, {"multicast": False}, {"multicast": False}),
        (
            {"wireguard": WireguardSpec(private_key="low", listen_port=1, firewall_mark=2)},
            {"wireguard": WireguardSpec(listen_port=3)},
            {"wireguard": WireguardSpec(private_key="low", listen_port=3, firewall_mark=2)},
        ),
        (
            {"wireguard": WireguardSpec(peers=(peer("a", "low:1"), peer("b")))},
            {"wireguard": WireguardSpec(peers=(peer("c"), peer("a", "high:1")))},
            {"wireguard": WireguardSpec(peers=(peer("a", "low:1"), peer("b"), peer("c")))},
        ),
    ],
)
def test_a_higher_link_layer_adds_to_the_lower(
    lower: dict[str, Any], higher: dict[str, Any], merged: dict[str, Any]
) -> None:
    assert merge_links([link(LOW, **lower), link(HIGH, **higher)]) == link(HIGH, **merged)


@given(st.lists(st.builds(LinkSpecSpec, name=st.just("x"), mtu=st.integers(0, 3), up=st.booleans()), min_size=1))
def test_links_merge_alike_however_they_are_grouped(layers: list[LinkSpecSpec]) -> None:
    whole = merge_links(layers)
    for cut in range(1, len(layers)):
        assert merge_links([merge_links(layers[:cut]), *layers[cut:]]) == whole
    assert whole.up == any(layer.up for layer in layers)


def test_the_highest_address_wins_without_the_kernels_own_flags() -> None:
    low = AddressSpecSpec(address="10.0.0.1/8", link_name="eth0", priority=5, layer=LOW)
    high = AddressSpecSpec(
        address="10.0.0.1/8", link_name="eth0", flags=AddressFlags.NODAD | AddressFlags.TENTATIVE, layer=HIGH
    )
    assert merge_addresses([low, high]) == attrs.evolve(high, flags=AddressFlags.NODAD)


def test_the_last_of_all_others_wins() -> None:
    assert last_wins(["a", "b"]) == "b"
