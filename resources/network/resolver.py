"""ResolverSpec: the desired name servers of the node; ResolverStatus: those in use. Id: `resolvers`."""

import attrs

from nodespan.resources.network.enums import KernelEnum
from nodespan.resources.network.layer import ConfigLayer
from nodespan.resources.network.namespace import NAMESPACE
from nodespan.runtime.resource import ResourceType, wire

_OPTIONAL = wire(omit_empty=True)
RESOLVERS_ID = "resolvers"


class DNSProtocol(KernelEnum):
    """The protocol of a name server."""

    DO53 = "Do53", 0
    DOT = "DoT", 1
    DOH = "DoH", 2


@attrs.frozen(kw_only=True)
class NameServer:
    """A name server."""

    addr: str
    """Its address."""
    protocol: DNSProtocol = DNSProtocol.DO53
    """The protocol of queries to it."""
    tls_server_name: str = attrs.field(default="", metadata=wire("tlsServerName"))
    """The name in its certificate, "" without TLS."""


@attrs.frozen(kw_only=True)
class ResolverSpecSpec:
    """Desired name servers, in the order of use."""

    dns_servers: tuple[str, ...] = ()
    """The addresses of all of `nameServers`."""
    name_servers: tuple[NameServer, ...] = attrs.field(default=(), metadata=_OPTIONAL)
    """The servers."""
    layer: ConfigLayer = ConfigLayer.DEFAULT
    """The layer that they come from."""
    search_domains: tuple[str, ...] = attrs.field(default=(), metadata=_OPTIONAL)
    """Domains in which names without a dot are looked up."""
    search_domains_overridden: bool = attrs.field(default=False, metadata=_OPTIONAL)
    """Whether the domains, even an empty list, replace those of lower layers."""


@attrs.frozen(kw_only=True)
class ResolverStatusSpec:
    """The servers and search domains in effect."""

    dns_servers: tuple[str, ...] = ()
    """The addresses of all of `nameServers`."""
    name_servers: tuple[NameServer, ...] = attrs.field(default=(), metadata=_OPTIONAL)
    """The servers, in the order of use."""
    search_domains: tuple[str, ...] = ()
    """Domains in which names without a dot are looked up."""


ResolverSpec = ResourceType(
    "ResolverSpecs.net.talos.dev",
    ResolverSpecSpec,
    namespace=NAMESPACE,
    columns={"Layer": ".layer", "Resolvers": ".dnsServers", "Search Domains": ".searchDomains"},
)
ResolverStatus = ResourceType(
    "ResolverStatuses.net.talos.dev",
    ResolverStatusSpec,
    singular="ResolverStatus",
    namespace=NAMESPACE,
    aliases=("resolvers",),
    columns={"Resolvers": ".dnsServers", "Search Domains": ".searchDomains"},
)
