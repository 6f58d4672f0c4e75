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
from nodespan.runtime.text.escaping import bounded
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
    assert spec.node_id == bounded(data.node_id, 253)
    assert spec.addresses == data.addresses


def test_what_a_node_says_of_itself_is_bounded_and_fit_for_a_terminal() -> None:
    hostile = "web\x1b[2J\n\x9b1m\u202e" + "a" * 10_000
    many = tuple(f"10.0.{number // 256}.{number % 256}" for number in range(5000))
    data = AffiliateData(
        node_id=hostile,
        addresses=many,
        hostname=hostile,
        nodename=hostile,
        machine_type=hostile,
        operating_system=hostile,
        kubespan=KubeSpanPart(
            public_key=hostile,
            additional_addresses=tuple(f"{address}/32" for address in many),
            exclude_advertised_addresses=tuple(f"{address}/32" for address in many),
        ),
    )
    found = from_wire(SeenAffiliate(data, tuple(f"{address}:1" for address in many)))
    assert found.kubespan is not None
    for text in (found.node_id, found.hostname, found.nodename, found.operating_system, found.kubespan.public_key):
        assert text.startswith("web\\x1b[2J\\n\\x9b1m\\u202ea")
        assert text.isprintable()
        assert len(text) == 253
    assert found.machine_type is MachineType.UNKNOWN
    lists = (found.addresses, found.kubespan.additional_addresses, found.kubespan.exclude_advertised_networks)
    assert [len(each) for each in (*lists, found.kubespan.endpoints)] == [1024] * 4
