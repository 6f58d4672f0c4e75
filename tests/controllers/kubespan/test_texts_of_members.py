"""Whatever text a member announces, what is kept, logged and counted of it is bounded and printable."""

import ipaddress
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from nodespan.controllers.cluster import metrics as cluster_metrics
from nodespan.controllers.cluster.affiliate_merge import AffiliateMergeController
from nodespan.controllers.cluster.conversion import from_wire
from nodespan.controllers.cluster.endpoint import EndpointController
from nodespan.controllers.cluster.member import MemberController
from nodespan.controllers.kubespan import metrics as kubespan_metrics
from nodespan.controllers.kubespan.peer import PeerController
from nodespan.controllers.kubespan.peer_spec import PeerSpecController
from nodespan.controllers.kubespan.peer_state import ObservedPeer
from nodespan.controllers.kubespan.peer_status import PeerStatusController
from nodespan.discovery.affiliate import decode_affiliate, decode_endpoint
from nodespan.discovery.view import SeenAffiliate
from nodespan.discovery.wire import client_pb2
from nodespan.resources.addresses import AddressError
from nodespan.resources.cluster import RAW_NAMESPACE, Affiliate, Identity, IdentitySpec, Member
from nodespan.resources.kubespan import (
    KUBESPAN_CONFIG_ID,
    LOCAL,
    KubeSpanConfig,
    KubeSpanConfigSpec,
    KubeSpanIdentity,
    KubeSpanIdentitySpec,
    KubeSpanPeerSpec,
    KubeSpanPeerStatus,
)
from nodespan.resources.network import WireguardPeerSpec
from nodespan.runtime.codec.plain import resource_to_plain
from nodespan.runtime.resource import Resource, ResourceType
from nodespan.runtime.state import State
from nodespan.runtime.testing.kit import running
from tests.controllers.kubespan.test_controllers import FakeDevice

# An escape sequence, lines, C1 controls, a change of the direction of writing, and far too much.
HOSTILE = "web\x1b[2J\r\n\x9b1m\u202e\x00" + "a" * 10_000
LINK_LOCAL = ipaddress.ip_address("fe80::1").packed
# Of an id or a text; a problem may quote two of them.
LONGEST, LONGEST_LINE = 300, 900
PEER_TYPES: tuple[ResourceType[Any], ...] = (KubeSpanPeerSpec, KubeSpanPeerStatus, WireguardPeerSpec)


def announced(node: str, number: int) -> client_pb2.Affiliate:
    """The announcement of an honest member; all of them claim one network."""
    mesh, own = (ipaddress.ip_address(text).packed for text in (f"fd00::{number}", f"192.0.2.{number}"))
    shared = client_pb2.IPPrefix(ip=ipaddress.ip_address("10.7.0.0").packed, bits=24)
    kubespan = client_pb2.KubeSpan(public_key=f"key-{node}", address=mesh, additional_addresses=[shared])
    return client_pb2.Affiliate(
        node_id=node,
        nodename=node,
        hostname=node,
        addresses=[own],
        machine_type="controlplane",
        operating_system="an honest one",
        kubespan=kubespan,
    )


def hostile(field: str) -> tuple[client_pb2.Affiliate, tuple[str, ...]]:
    """An announcement with that text in one field, and the endpoints that come with it."""
    message = announced("a", 2)
    zoned, long = LINK_LOCAL + HOSTILE.encode(), LINK_LOCAL + b"a" * 10_000
    prefixes = [client_pb2.IPPrefix(ip=each, bits=2**32 - 1) for each in (zoned, long)]
    endpoints: tuple[str, ...] = ()
    match field:
        case "addresses":
            message.addresses.extend([zoned, long])
        case "kubespan.address":
            message.kubespan.address = long
        case "kubespan.additional_addresses":
            message.kubespan.additional_addresses.extend(prefixes)
        case "kubespan.exclude_advertised_addresses":
            message.kubespan.exclude_advertised_addresses.extend(prefixes)
        case "kubespan.public_key":
            message.kubespan.public_key = HOSTILE
        case "endpoint":
            for address in (zoned, long):
                with pytest.raises(AddressError):
                    decode_endpoint(client_pb2.Endpoint(ip=address, port=51820).SerializeToString())
            longest = client_pb2.Endpoint(ip=LINK_LOCAL + b"a" * 15, port=2**32 - 1)
            endpoints = (decode_endpoint(longest.SerializeToString()),)
            assert endpoints == (f"[fe80::1%{'a' * 15}]:65535",)
        case _:
            setattr(message, field, HOSTILE)
    return message, endpoints


FIELDS = (
    "node_id",
    "nodename",
    "hostname",
    "machine_type",
    "operating_system",
    "addresses",
    "kubespan.address",
    "kubespan.additional_addresses",
    "kubespan.exclude_advertised_addresses",
    "kubespan.public_key",
    "endpoint",
)


def test_every_field_of_an_announcement_is_tried() -> None:
    others = {"kubespan", "control_plane"}
    fields = {each.name for each in client_pb2.Affiliate.DESCRIPTOR.fields} - others
    fields |= {f"kubespan.{each.name}" for each in client_pb2.KubeSpan.DESCRIPTOR.fields}
    assert fields | {"endpoint"} == set(FIELDS)
    # Of the control plane only a number.
    assert [each.name for each in client_pb2.ControlPlane.DESCRIPTOR.fields] == ["api_server_port"]


@pytest.mark.virtual_clock
@pytest.mark.parametrize("field", FIELDS)
async def test_what_is_kept_logged_and_counted_of_it_is_bounded_and_printable(field: str) -> None:
    message, endpoints = hostile(field)
    device = FakeDevice()
    device.peers = {"key-b": ObservedPeer(endpoint="192.0.2.3:51820")}
    controllers = (
        *(AffiliateMergeController(), MemberController(), EndpointController()),
        *(PeerSpecController(), PeerStatusController(device), PeerController()),
    )
    with capture_logs() as logs:
        async with running(*controllers) as node:
            await node.put(KubeSpanConfig, KUBESPAN_CONFIG_ID, KubeSpanConfigSpec(enabled=True, force_routing=True))
            await node.put(KubeSpanIdentity, LOCAL, KubeSpanIdentitySpec())
            await node.put(Identity, LOCAL, IdentitySpec(node_id="me"))
            for each, of_it in ((announced("b", 3), ()), (message, endpoints)):
                spec = from_wire(SeenAffiliate(decode_affiliate(each.SerializeToString()), of_it))
                await node.create(Affiliate.new(f"service/{spec.node_id}", spec, namespace=RAW_NAMESPACE))
            await node.settled()
            assert len(node.state.list(Member)) == 2
            peers = 1 if field == "kubespan.address" else 2
            for type in PEER_TYPES:
                assert len(node.state.list(type)) == peers, type
            for resource in every(node.state):
                for text in texts(resource_to_plain(resource)):
                    assert text.isprintable(), (resource.metadata, text)
                    assert len(text) <= LONGEST, resource.metadata
            for source in (cluster_metrics.METRICS, kubespan_metrics.METRICS):
                for family in source.collect(node.state):
                    for sample in family.samples:
                        shown = [label for _, label in sample.labels]
                        assert all(label.isprintable() and len(label) <= LONGEST for label in shown), family.metric.name
    assert logs
    for log in logs:
        for text in texts(log):
            assert text.isprintable(), log
            assert len(text) <= LONGEST_LINE, log


def every(state: State) -> Iterator[Resource[Any]]:
    """All resources of a state."""
    for kind in state.kinds():
        yield from state.view(kind).items.values()


def texts(value: object) -> Iterator[str]:
    """All texts in a plain value, keys too."""
    match value:
        case str():
            yield value
        case dict():
            for key, each in value.items():
                yield from texts(key)
                yield from texts(each)
        case Iterable():
            for each in value:
                yield from texts(each)
