"""What the resources of a cluster look like outside."""

from typing import Any

import pytest

from nodespan.resources.cluster import (
    Affiliate,
    AffiliateSpec,
    ControlPlane,
    DiscoveryConfig,
    DiscoveryConfigSpec,
    DiscoveryService,
    KubeSpanAffiliate,
    MachineType,
)
from nodespan.runtime.codec.plain import spec_from_plain, spec_to_plain
from tests.support.vectors import cases


@pytest.mark.parametrize("case", cases("machine_type_parse"))
def test_machine_types_are_parsed_from_text(case: dict[str, Any]) -> None:
    assert MachineType(case["text"]).value == case["machine_type"]


def test_an_affiliate_shows_its_fields_in_the_documented_order() -> None:
    spec = AffiliateSpec(
        node_id="id",
        addresses=("10.0.0.1",),
        hostname="foo.com",
        nodename="bar",
        operating_system="Talos (v1.14.0)",
        machine_type=MachineType.CONTROLPLANE,
        kubespan=KubeSpanAffiliate(public_key="key", endpoints=("10.0.0.1:51820",)),
        control_plane=ControlPlane(port=6443),
    )
    plain = spec_to_plain(spec)
    assert list(plain) == [
        *("nodeId", "addresses", "hostname", "nodename", "operatingSystem", "machineType", "kubespan", "controlPlane")
    ]
    assert list(plain["kubespan"]) == [
        *("publicKey", "address", "additionalAddresses", "endpoints", "excludeAdvertisedNetworks")
    ]
    assert plain["controlPlane"] == {"port": 6443}
    assert spec_from_plain(AffiliateSpec, plain) == spec
    assert list(spec_to_plain(AffiliateSpec())) == [
        *("nodeId", "addresses", "hostname", "operatingSystem", "machineType")
    ]


def test_the_discovery_settings_hide_their_key() -> None:
    spec = DiscoveryConfigSpec(service_encryption_key=b"k" * 32, service_endpoints=(DiscoveryService(name="a"),))
    assert DiscoveryConfig.is_sensitive
    assert not Affiliate.is_sensitive
    assert "kkk" not in repr(spec)
    assert list(spec_to_plain(spec)) == [
        "discoveryEnabled",
        "registryKubernetesEnabled",
        "registryServiceEnabled",
        "serviceEndpoint",
        "serviceEncryptionKey",
        "serviceClusterID",
        "serviceEndpoints",
    ]
