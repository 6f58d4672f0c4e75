"""DHCPLease: the state and the lease of a DHCP client of this node. Id: `dhcp4/<link>`."""

import attrs

from nodespan.resources.network.namespace import NAMESPACE
from nodespan.runtime.resource import ResourceType, wire

_OPTIONAL = wire(omit_empty=True)


@attrs.frozen(kw_only=True)
class DHCPLeaseSpec:
    """`state` is a state of the protocol, such as `selecting` or `bound`. Without a lease the rest is empty.

    Times are RFC 3339, UTC, or `never`. `server` is an address (DHCPv4) or the server's identifier (DHCPv6), `routes`
    the number of routes in the lease, `ignored` the parts of the server's answer that were left out, and why.
    """

    link_name: str
    state: str
    addresses: tuple[str, ...] = ()
    server: str = attrs.field(default="", metadata=_OPTIONAL)
    obtained: str = attrs.field(default="", metadata=_OPTIONAL)
    renew_at: str = attrs.field(default="", metadata=_OPTIONAL)
    expires: str = attrs.field(default="", metadata=_OPTIONAL)
    routes: int = 0
    ignored: tuple[str, ...] = attrs.field(default=(), metadata=_OPTIONAL)


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
