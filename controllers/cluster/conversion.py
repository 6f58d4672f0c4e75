"""Affiliates as resources and as what travels to and from a discovery service: pure rules."""

from nodespan.discovery.affiliate import AffiliateData, ControlPlanePart, KubeSpanPart
from nodespan.discovery.view import SeenAffiliate
from nodespan.resources.cluster import AffiliateSpec, ControlPlane, KubeSpanAffiliate, MachineType
from nodespan.runtime.text.escaping import bounded

# The longest name of a host in the DNS; addresses and networks of one node.
_LONGEST_NAME = 253
_MOST_LISTED = 1024


def to_wire(affiliate: AffiliateSpec) -> tuple[AffiliateData, tuple[str, ...]]:
    """Data and endpoints to send to a service about this node. Without a public key it is not part of the mesh."""
    kubespan = affiliate.kubespan if affiliate.kubespan is not None and affiliate.kubespan.public_key else None
    data = AffiliateData(
        node_id=affiliate.node_id,
        addresses=affiliate.addresses,
        hostname=affiliate.hostname,
        nodename=affiliate.nodename,
        machine_type=affiliate.machine_type.value,
        operating_system=affiliate.operating_system,
        kubespan=None
        if kubespan is None
        else KubeSpanPart(
            public_key=kubespan.public_key,
            address=kubespan.address,
            additional_addresses=kubespan.additional_addresses,
            exclude_advertised_addresses=kubespan.exclude_advertised_networks,
        ),
        control_plane=None
        if affiliate.control_plane is None
        else ControlPlanePart(api_server_port=affiliate.control_plane.port),
    )
    return data, () if kubespan is None else kubespan.endpoints


def from_wire(seen: SeenAffiliate) -> AffiliateSpec:
    """Another node as reported by a service. Endpoints count only for a node that is part of the mesh.

    What it announces becomes ids, labels of metrics, lines of tables and of logs, so it is cut at lengths that no
    honest node reaches, and what a terminal would act on is escaped.
    """
    data = seen.data
    kubespan = None
    if data.kubespan is not None:
        kubespan = KubeSpanAffiliate(
            public_key=_name(data.kubespan.public_key),
            address=data.kubespan.address,
            additional_addresses=data.kubespan.additional_addresses[:_MOST_LISTED],
            endpoints=seen.endpoints[:_MOST_LISTED],
            exclude_advertised_networks=data.kubespan.exclude_advertised_addresses[:_MOST_LISTED],
        )
    return AffiliateSpec(
        node_id=_name(data.node_id),
        addresses=data.addresses[:_MOST_LISTED],
        hostname=_name(data.hostname),
        nodename=_name(data.nodename),
        operating_system=_name(data.operating_system),
        machine_type=MachineType(data.machine_type),
        kubespan=None if kubespan == KubeSpanAffiliate() else kubespan,
        control_plane=None if data.control_plane is None else ControlPlane(port=data.control_plane.api_server_port),
    )


def _name(given: str) -> str:
    return bounded(given, _LONGEST_NAME)
