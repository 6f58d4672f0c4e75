"""Affiliates as resources and on the wire."""

import attrs
from hypothesis import given

from nodespan.controllers.cluster.conversion import from_wire, to_wire
from nodespan.discovery.affiliate import (
    AffiliateData,
    ControlPlanePart,
    KubeSpanPart,
    decode_affiliate,
    encode_affiliate,
)
from nodespan.discovery.view import SeenAffiliate
from nodespan.resources.cluster import AffiliateSpec, ControlPlane, KubeSpanAffiliate, MachineType
from tests.controllers.cluster.samples import affiliate
from tests.discovery.samples import affiliates

FULL = AffiliateSpec(
    node_id="id",
    addresses=("10.0.0.1", "fd00::1"),
    hostname="foo.com",
    nodename="bar",
    operating_system="nodespan (v1.0.0)",
    machine_type=MachineType.CONTROLPLANE,
    kubespan=KubeSpanAffiliate(
        public_key="key",
        address="fd00::1",
        additional_addresses=("10.244.3.1/24",),
        endpoints=("10.0.0.1:51820",),
        exclude_advertised_networks=("0.0.0.0/0",),
    ),
    control_plane=ControlPlane(port=6443),
)


def test_an_affiliate_survives_conversion_to_the_wire_and_back() -> None:
    data, endpoints = to_wire(FULL)
    assert from_wire(SeenAffiliate(decode_affiliate(encode_affiliate(data)), endpoints)) == FULL


def test_a_node_without_a_key_is_not_part_of_the_mesh() -> None:
    part = KubeSpanAffiliate(endpoints=("10.0.0.1:51820",))
    data, endpoints = to_wire(attrs.evolve(affiliate("a"), kubespan=part))
    assert (data.kubespan, endpoints) == (None, ())


def test_endpoints_without_a_mesh_part_do_not_count() -> None:
    assert from_wire(SeenAffiliate(AffiliateData(node_id="a"), ("10.0.0.1:1",))).kubespan is None


def test_empty_parts() -> None:
    data = AffiliateData(node_id="a", kubespan=KubeSpanPart(), control_plane=ControlPlanePart())
    spec = from_wire(SeenAffiliate(data))
    assert (spec.kubespan, spec.control_plane) == (None, ControlPlane(port=0))


@given(affiliates())
def test_any_record_from_a_service_converts_to_an_affiliate(data: AffiliateData) -> None:
    spec = from_wire(SeenAffiliate(data))
    assert spec.node_id == data.node_id
    assert spec.addresses == data.addresses
