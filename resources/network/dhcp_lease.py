"""DHCPLease: the state and the lease of a DHCP client of this node. Id: `dhcp4/<link>`."""

import attrs

from nodespan.resources.network.namespace import NAMESPACE
from nodespan.runtime.resource import ResourceType, wire

_OPTIONAL = wire(omit_empty=True)


@attrs.frozen(kw_only=True)
class DHCPLeaseSpec:
    """A DHCP client. Without a lease all but its link and state is empty. Times are RFC 3339, UTC, or `never`."""

    link_name: str
    """The link of the client."""
    state: str
    """The state of the protocol, such as `selecting` or `bound`."""
    addresses: tuple[str, ...] = ()
    """The addresses of the lease, with their prefix lengths."""
    server: str = attrs.field(default="", metadata=_OPTIONAL)
    """The address of the server (DHCPv4), or its identifier (DHCPv6)."""
    obtained: str = attrs.field(default="", metadata=_OPTIONAL)
    """When the lease was obtained or last renewed."""
    renew_at: str = attrs.field(default="", metadata=_OPTIONAL)
    """When the client asks to extend it."""
    expires: str = attrs.field(default="", metadata=_OPTIONAL)
    """When it ends."""
    routes: int = 0
    """How many routes it has."""
    ignored: tuple[str, ...] = attrs.field(default=(), metadata=_OPTIONAL)
    """The parts of the server's answer that were left out, and why."""


DHCPLease = ResourceType(
    "DHCPLeases.net.nodespan.dev",
    DHCPLeaseSpec,
    singular="DHCPLease",
    namespace=NAMESPACE,
    columns={
        "State": ".state",
        "Addresses": ".addresses",
        "Server": ".server",
        "Renew At": ".renewAt",
        "Expires": ".expires",
    },
)
