"""OperatorSpec: a process on a link that produces network specs: a DHCP client, a virtual IP.

The id is `dhcp4/<link>`, `dhcp6/<link>` or `vip/<link>/<ip>`, in `network-config` prefixed by the layer.
"""

import attrs

from nodespan.resources.config.network import ClientIdentifier
from nodespan.resources.network.enums import KernelEnum
from nodespan.resources.network.layer import ConfigLayer
from nodespan.resources.network.namespace import NAMESPACE
from nodespan.runtime.resource import ResourceType, wire

_OPTIONAL = wire(omit_empty=True)


class Operator(KernelEnum):
    """The kinds of operators."""

    DHCP4 = "dhcp4", 0
    DHCP6 = "dhcp6", 1
    VIP = "vip", 2


@attrs.frozen(kw_only=True)
class ClientIdentifierSpec:
    """How a DHCP client identifies itself; `duid_raw`, in hexadecimal digits, only with `duid`."""

    client_identifier: ClientIdentifier = ClientIdentifier.MAC
    duid_raw: str = attrs.field(default="", metadata=wire("duidRawHex", omit_empty=True))


@attrs.frozen(kw_only=True)
class DHCP4OperatorSpec:
    """A DHCPv4 client. The metric is that of the routes from its lease."""

    route_metric: int = 1024
    skip_hostname_request: bool = attrs.field(default=False, metadata=_OPTIONAL)
    skip_routes: bool = attrs.field(default=False, metadata=_OPTIONAL)
    client_identifier: ClientIdentifierSpec = attrs.field(factory=ClientIdentifierSpec, metadata=_OPTIONAL)


@attrs.frozen(kw_only=True)
class DHCP6OperatorSpec:
    """A DHCPv6 client. The metric is that of the routes from its lease."""

    route_metric: int = 1024
    skip_hostname_request: bool = attrs.field(default=False, metadata=_OPTIONAL)
    client_identifier: ClientIdentifierSpec = attrs.field(factory=ClientIdentifierSpec, metadata=_OPTIONAL)


@attrs.frozen(kw_only=True)
class VIPOperatorSpec:
    """A virtual IP: the elected node holds it, and announces it to the neighbours if `gratuitous_arp`."""

    ip: str
    gratuitous_arp: bool = attrs.field(default=True, metadata=wire("gratuitousARP"))


@attrs.frozen(kw_only=True)
class OperatorSpecSpec:
    """A desired operator: runs while its link exists and, if `require_up`, is up. One of the last three is set."""

    operator: Operator
    link_name: str
    require_up: bool = True
    dhcp4: DHCP4OperatorSpec | None = attrs.field(default=None, metadata=_OPTIONAL)
    dhcp6: DHCP6OperatorSpec | None = attrs.field(default=None, metadata=_OPTIONAL)
    vip: VIPOperatorSpec | None = attrs.field(default=None, metadata=_OPTIONAL)
    layer: ConfigLayer = ConfigLayer.DEFAULT


def operator_id(spec: OperatorSpecSpec) -> str:
    """`dhcp4/eth0`, `vip/eth0/192.168.0.15`."""
    parts = [spec.operator.value, spec.link_name]
    if spec.vip is not None:
        parts.append(spec.vip.ip)
    return "/".join(parts)


OperatorSpec = ResourceType("OperatorSpecs.net.talos.dev", OperatorSpecSpec, namespace=NAMESPACE, sensitive=True)
