"""The node's own DNS server: HostDNSConfig is what it does, DNSResolveCache where it runs, DNSUpstream whom it asks."""

import attrs

from nodespan.resources.network.namespace import NAMESPACE
from nodespan.resources.network.resolver import NameServer
from nodespan.runtime.resource import ResourceType, wire

_OPTIONAL = wire(omit_empty=True)
HOST_DNS_CONFIG_ID = "config"
DNS_RUNNING = "running"


@attrs.frozen(kw_only=True)
class HostDNSConfigSpec:
    """What the node's own DNS server does."""

    enabled: bool = False
    """Whether it runs."""
    listen_addresses: tuple[str, ...] = attrs.field(default=(), metadata=_OPTIONAL)
    """Where it listens over UDP and TCP, as `address:port`: on the loopback for the machine, on the address in the mesh
    for the other nodes.
    """
    service_host_dns_address: str = attrs.field(default="", metadata=wire("serviceHostDNSAddress", omit_empty=True))
    """The IPv4 address that pods ask; "" for none."""
    resolve_member_names: bool = attrs.field(default=False, metadata=_OPTIONAL)
    """Whether it answers with the addresses of members of the cluster."""
    service_host_dns_address_v6: str = attrs.field(
        default="", metadata=wire("serviceHostDNSAddressV6", omit_empty=True)
    )
    """The IPv6 address that pods ask; "" for none."""
    mesh_subnet: str = attrs.field(default="", metadata=_OPTIONAL)
    """The subnet of the mesh: other servers cannot answer with its addresses, and where the server listens there, its
    hosts may ask. "" while there is none.
    """
    domain: str = attrs.field(default="", metadata=_OPTIONAL)
    """The domain of the members: a name below it is a member's or nobody's; "" for none."""
    rebinding_allowed: tuple[str, ...] = attrs.field(default=(), metadata=_OPTIONAL)
    """Domains whose names may have private addresses although a public server says so."""


@attrs.frozen(kw_only=True)
class DNSResolveCacheSpec:
    """A listener of the node's own DNS server."""

    status: str = ""
    """`running`, while it answers."""


@attrs.frozen(kw_only=True)
class DNSUpstreamSpec:
    """A server that the node's own DNS server asks."""

    healthy: str = ""
    """`true` or `false`: whether it answered when it was asked last; "" before the first answer."""
    addr: str = ""
    """Where it is asked, as `address:port`."""


HostDNSConfig = ResourceType(
    "HostDNSConfigs.net.talos.dev", HostDNSConfigSpec, namespace=NAMESPACE, columns={"Enabled": ".enabled"}
)
DNSResolveCache = ResourceType(
    "DNSResolveCaches.net.talos.dev",
    DNSResolveCacheSpec,
    singular="DNSResolveCache",
    namespace=NAMESPACE,
    columns={"Status": ".status"},
)
DNSUpstream = ResourceType(
    "DNSUpstreams.net.talos.dev",
    DNSUpstreamSpec,
    namespace=NAMESPACE,
    columns={"Healthy": ".healthy", "Address": ".addr"},
)


def dns_resolve_cache_id(transport: str, address: str) -> str:
    """The id of the listener at `address:port`; `transport` is `udp` or `tcp`."""
    return f"{transport}{'6' if address.startswith('[') else ''}-{address}"


def dns_upstream_id(index: int, server: NameServer) -> str:
    """The id of the server that is asked as number `index`."""
    return f"#{index:03} {server.protocol.value} {server.addr}"
