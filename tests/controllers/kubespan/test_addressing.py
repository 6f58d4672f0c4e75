from ipaddress import IPv6Network, ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodespan.controllers.kubespan.addressing import Purpose, cluster_prefix, has_purpose, node_address
from tests.support.vectors import each


@each("kubespan_address")
def test_the_address_follows_from_the_cluster_id_and_the_mac(vector: dict[str, Any]) -> None:
    subnet = IPv6Network(vector["subnet"])
    if vector["cluster_id"] is not None:  # one is known by its answer only
        assert cluster_prefix(vector["cluster_id"], Purpose.KUBESPAN) == subnet
    assert f"{node_address(subnet, vector['mac'])}/128" == vector["address"]


@each("ula_purpose")
def test_the_prefix_carries_its_purpose(vector: dict[str, Any]) -> None:
    assert cluster_prefix(vector["cluster_id"], Purpose(vector["purpose"])) == ip_network(vector["prefix"])


@each("is_ula")
def test_an_address_shows_its_purpose(vector: dict[str, Any]) -> None:
    assert has_purpose(ip_address(vector["address"]), Purpose(vector["purpose"])) is vector["result"]


@given(st.text(), st.binary(min_size=6, max_size=6))
def test_every_address_is_in_the_subnet_and_shows_its_purpose(cluster_id: str, mac: bytes) -> None:
    subnet = cluster_prefix(cluster_id, Purpose.KUBESPAN)
    address = node_address(subnet, mac.hex(":"))
    assert address in subnet
    assert has_purpose(address, Purpose.KUBESPAN)


@pytest.mark.parametrize("mac", ["", "00:11:22", "zz:00:00:00:00:00", "00:11:22:33:44:55:66"])
def test_other_hardware_addresses_give_no_address(mac: str) -> None:
    with pytest.raises(ValueError, match="6 or 8 bytes"):
        node_address(cluster_prefix("cluster", Purpose.KUBESPAN), mac)
