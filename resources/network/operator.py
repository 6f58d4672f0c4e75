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
    """How a DHCP client identifies itself."""

    client_identifier: ClientIdentifier = ClientIdentifier.MAC
    """The kind of identifier."""
    duid_raw: str = attrs.field(default="", metadata=wire("duidRawHex", omit_empty=True))
    """The DUID in hexadecimal digits, only for `duid`."""


@attrs.frozen(kw_only=True)
class DHCP4OperatorSpec:
    """A DHCPv4 client."""

    route_metric: int = 1024
    """The metric of the routes from its lease."""
    skip_hostname_request: bool = attrs.field(default=False, metadata=_OPTIONAL)
    """Whether no host name is requested."""
    skip_routes: bool = attrs.field(default=False, metadata=_OPTIONAL)
    """Whether the routes of the lease are not used."""
    client_identifier: ClientIdentifierSpec = attrs.field(factory=ClientIdentifierSpec, metadata=_OPTIONAL)
    """How the client identifies itself."""


@attrs.frozen(kw_only=True)
class DHCP6OperatorSpec:
    """A DHCPv6 client."""

    route_metric: int = 1024
    """The metric of the routes from its lease."""
    skip_hostname_request: bool = attrs.field(default=False, metadata=_OPTIONAL)
    """Whether no host name is requested."""
    client_identifier: ClientIdentifierSpec = attrs.field(factory=ClientIdentifierSpec, metadata=_OPTIONAL)
    """How the client identifies itself."""


@attrs.frozen(kw_only=True)
class VIPEquinixMetalSpec:
    """How Equinix Metal is asked to route a virtual IP. An id that is unset is that of the machine the agent is on."""

    project_id: str = attrs.field(default="", metadata=wire("projectID"))
    """The project."""
    device_id: str = attrs.field(default="", metadata=wire("deviceID"))
    """The machine."""
    api_token: str = attrs.field(default="", repr=False)
    """The token for the API, or where it is: `file:PATH`, `env:NAME`."""


@attrs.frozen(kw_only=True)
class VIPHCloudSpec:
    """How Hetzner Cloud is asked to route a virtual IP. An id that is unset is found by the machine the agent is on."""

    device_id: int = attrs.field(default=0, metadata=wire("deviceID"))
    """The server."""
    network_id: int = attrs.field(default=0, metadata=wire("networkID"))
    """The network of which the address is an alias; 0 for a floating IP, once the server is known."""
    api_token: str = attrs.field(default="", repr=False)
    """The token for the API, or where it is: `file:PATH`, `env:NAME`."""


@attrs.frozen(kw_only=True)
class VIPOperatorSpec:
    """A virtual IP: the elected node holds it. One that a cloud routes has the settings of that cloud."""

    ip: str
    """The address."""
    gratuitous_arp: bool = attrs.field(default=True, metadata=wire("gratuitousARP"))
    """Whether the holder announces it to its neighbours."""
    equinix_metal: VIPEquinixMetalSpec | None = attrs.field(default=None, metadata=_OPTIONAL)
    """How Equinix Metal is asked to route it."""
    hcloud: VIPHCloudSpec | None = attrs.field(default=None, metadata=_OPTIONAL)
    """How Hetzner Cloud is asked to route it."""

    @property
    def is_of_cloud(self) -> bool:
        """Whether a cloud has to be asked to route it."""
        return self.equinix_metal is not None or self.hcloud is not None


@attrs.frozen(kw_only=True)
class OperatorSpecSpec:
    """A desired operator. One of `dhcp4`, `dhcp6` and `vip` is set."""

    operator: Operator
    """The kind of operator."""
    link_name: str
    """The link that it runs on, while the link exists."""
    require_up: bool = True
    """Whether it runs only while the link is up."""
    dhcp4: DHCP4OperatorSpec | None = attrs.field(default=None, metadata=_OPTIONAL)
    """The settings of a DHCPv4 client."""
    dhcp6: DHCP6OperatorSpec | None = attrs.field(default=None, metadata=_OPTIONAL)
    """The settings of a DHCPv6 client."""
    vip: VIPOperatorSpec | None = attrs.field(default=None, metadata=_OPTIONAL)
    """The settings of a virtual IP."""
    layer: ConfigLayer = ConfigLayer.DEFAULT
    """The layer that it comes from."""


def operator_id(spec: OperatorSpecSpec) -> str:
    """`dhcp4/eth0`, `vip/eth0/192.168.0.15`."""
    parts = [spec.operator.value, spec.link_name]
    if spec.vip is not None:
        parts.append(spec.vip.ip)
    return "/".join(parts)


OperatorSpec = ResourceType("OperatorSpecs.net.talos.dev", OperatorSpecSpec, namespace=NAMESPACE, sensitive=True)
