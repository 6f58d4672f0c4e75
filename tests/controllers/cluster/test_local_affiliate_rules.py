"""Which addresses and endpoints a node tells the others."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodespan.controllers.cluster.local_affiliate_rules import (
    configured_vips,
    own_endpoints,
    plain_addresses,
)
from nodespan.controllers.common.endpoint_filter import EndpointFilterError, filter_endpoints, parse_filter_entry
from nodespan.controllers.config.loading import load
from nodespan.controllers.kubespan.endpoint_order import Whereabouts, networks_of, ordered
from nodespan.controllers.network.status.node_address_rules import is_container_bridge
from nodespan.resources.network import LinkStatusSpec
from tests.support.vectors import cases


@pytest.mark.parametrize("case", cases("endpoint_filter"))
def test_known_filters(case: dict[str, Any]) -> None:
    assert filter_endpoints(case["ips"], case["filter"]) == tuple(case["result"])


@pytest.mark.parametrize("case", cases("endpoint_filter_syntax"))
def test_valid_and_invalid_filter_entries(case: dict[str, Any]) -> None:
    if case["valid"]:
        assert parse_filter_entry(case["entry"]).is_negative == case["entry"].startswith("!")
    else:
        with pytest.raises(EndpointFilterError, match="write it like"):
            parse_filter_entry(case["entry"])


@given(st.text())
def test_any_text_is_an_entry_or_an_error(text: str) -> None:
    try:
        parse_filter_entry(text)
    except EndpointFilterError:
        return


@pytest.mark.parametrize("case", cases("local_endpoints"))
def test_known_endpoints(case: dict[str, Any]) -> None:
    inputs = case["inputs"]
    endpoints = own_endpoints(
        kubespan_address=inputs["kubespan_address"],
        current_addresses=inputs["current_addresses"],
        public_addresses=inputs["public_ips"],
        filters=inputs["filter"],
        extra=inputs["extra"],
    )
    assert endpoints == tuple(case["endpoints"])


def test_addresses_are_listed_once_and_without_prefix_lengths() -> None:
    assert plain_addresses(["10.0.0.1/24", "10.0.0.1/32", "fd00::1/64"]) == ("10.0.0.1", "fd00::1")


@pytest.mark.parametrize(
    ("name", "kind", "is_container"),
    [
        ("docker0", "bridge", True),
        ("br-0123456789ab", "bridge", True),
        ("cni0", "bridge", True),
        ("cni-podman0", "bridge", True),
        ("podman1", "bridge", True),
        ("virbr0", "bridge", True),
        ("lxdbr0", "bridge", True),
        ("br0", "bridge", False),
        ("br-lan", "bridge", False),
        ("vmbr0", "bridge", False),
        ("docker0", "", False),
        ("flannel.1", "vxlan", True),
        ("kube-ipvs0", "dummy", True),
        ("cilium_host", "veth", True),
        ("vxlan.calico", "vxlan", True),
        ("vxlan0", "vxlan", False),
        ("eth0", "veth", False),
    ],
)
def test_container_bridges_are_recognised_by_kind_and_name(name: str, kind: str, is_container: bool) -> None:
    assert is_container_bridge(name, LinkStatusSpec(kind=kind)) == is_container


def test_a_virtual_ip_is_not_an_endpoint() -> None:
    endpoints = own_endpoints(
        kubespan_address="",
        current_addresses=["10.0.0.1/24", "10.0.0.100/32", "fd00::1/64", "fd00::100/128"],
        public_addresses=(),
        filters=None,
        extra=(),
        vips={"10.0.0.100", "fd00::100"},
    )
    assert endpoints == ("10.0.0.1:51820", "[fd00::1]:51820")


def test_virtual_ips_are_recognised_in_every_document() -> None:
    text = """\
machine:
  type: controlplane
  network:
    interfaces:
      - interface: eth0
        vip: {ip: 10.0.0.100}
        vlans:
          - vlanId: 5
            vip: {ip: "fd00:0::100"}
      - deviceSelector: {driver: virtio}
        vip: {ip: 10.0.1.100}
---
apiVersion: v1alpha1
kind: Layer2VIPConfig
name: 10.0.2.100
link: eth1
---
apiVersion: v1alpha1
kind: HCloudVIPConfig
name: 10.0.3.100
link: eth2
"""
    vips = configured_vips(load(text).config)
    assert vips == {"10.0.0.100", "fd00::100", "10.0.1.100", "10.0.2.100", "10.0.3.100"}


def test_addresses_at_a_relay_come_last_and_no_filter_concerns_them() -> None:
    endpoints = own_endpoints(
        kubespan_address="fd00::1",
        current_addresses=["192.0.2.1/24"],
        public_addresses=["198.51.100.7"],
        filters=["192.0.2.0/24"],
        extra=["203.0.113.5:51820"],
        relayed=["203.0.113.2:21007", "[2001:db8::2]:21007", "203.0.113.5:51820"],
    )
    assert endpoints == ("192.0.2.1:51820", "203.0.113.5:51820", "203.0.113.2:21007", "[2001:db8::2]:21007")


@pytest.mark.parametrize(
    ("extra", "mapped", "expected"),
    [
        # At the public address, whose port is a guess: the operator knows it, and the router does.
        (["198.51.100.7:6000"], (), ["198.51.100.7:6000", "198.51.100.7:51820"]),
        (
            ["198.51.100.7:6000"],
            ["198.51.100.7:6001"],
            ["198.51.100.7:6000", "198.51.100.7:6001", "198.51.100.7:51820"],
        ),
        # What is guessed right is no second endpoint.
        (["198.51.100.7:51820"], (), ["198.51.100.7:51820"]),
        # At another address there is nothing that it could be taken for.
        (["203.0.113.5:51820"], (), ["198.51.100.7:51820", "203.0.113.5:51820"]),
        # At an own address it comes behind those of the node, as it always did.
        (["192.0.2.1:7"], (), ["198.51.100.7:51820", "192.0.2.1:7"]),
    ],
)
def test_what_the_operator_added_at_the_public_address_stands_before_the_guess(
    extra: list[str], mapped: list[str], expected: list[str]
) -> None:
    endpoints = own_endpoints(
        kubespan_address="fd00::1",
        current_addresses=["192.0.2.1/24"],
        public_addresses=["198.51.100.7"],
        filters=None,
        extra=extra,
        mapped=mapped,
        relayed=["203.0.113.2:21007"],
    )
    assert list(endpoints) == ["192.0.2.1:51820", *expected, "203.0.113.2:21007"]


def test_peers_take_the_port_that_the_operator_added_for_right_whatever_others_have_seen() -> None:
    own = own_endpoints(
        kubespan_address="fd00::1",
        current_addresses=["10.0.0.7/24"],
        public_addresses=["203.0.113.7"],
        filters=None,
        extra=["203.0.113.7:6000"],
    )
    seen = ("203.0.113.7:40001", "203.0.113.7:40002")
    here = Whereabouts(networks=networks_of(["192.168.1.5/24"]), public="203.0.113.1")
    assert ordered((*own, *seen), here)[0] == "203.0.113.7:6000"
