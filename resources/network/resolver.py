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
    """A name server; `tls_server_name` is the name in its certificate, "" without TLS."""

    addr: str
    protocol: DNSProtocol = DNSProtocol.DO53
    tls_server_name: str = attrs.field(default="", metadata=wire("tlsServerName"))


@attrs.frozen(kw_only=True)
class ResolverSpecSpec:
    """Servers in the order of use: `dns_servers` are the addresses of all of `name_servers`.

    `search_domains_overridden`: the domains, even an empty list, replace those of lower layers.
    """

    dns_servers: tuple[str, ...] = ()
    name_servers: tuple[NameServer, ...] = attrs.field(default=(), metadata=_OPTIONAL)
    layer: ConfigLayer = ConfigLayer.DEFAULT
    search_domains: tuple[str, ...] = attrs.field(default=(), metadata=_OPTIONAL)
    search_domains_overridden: bool = attrs.field(default=False, metadata=_OPTIONAL)


@attrs.frozen(kw_only=True)
class ResolverStatusSpec:
    """The servers and search domains in effect."""

    dns_servers: tuple[str, ...] = ()
    name_servers: tuple[NameServer, ...] = attrs.field(default=(), metadata=_OPTIONAL)
    search_domains: tuple[str, ...] = ()


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
