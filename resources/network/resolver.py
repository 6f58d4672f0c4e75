"""ResolverSpec: which name servers the node is to ask; ResolverStatus: which it asks. Id: `resolvers`."""

import attrs

from nodespan.resources.network.enums import KernelEnum
from nodespan.resources.network.layer import ConfigLayer
from nodespan.resources.network.namespace import NAMESPACE
from nodespan.runtime.resource import ResourceType, wire

_OPTIONAL = wire(omit_empty=True)
RESOLVERS_ID = "resolvers"


class DNSProtocol(KernelEnum):
    """How a name server is spoken to."""

    DO53 = "Do53", 0
    DOT = "DoT", 1
    DOH = "DoH", 2


@attrs.frozen(kw_only=True)
class NameServer:
    """A name server; `tls_server_name` is what its certificate must be for, "" where there is no TLS."""

    addr: str
    protocol: DNSProtocol = DNSProtocol.DO53
    tls_server_name: str = attrs.field(default="", metadata=wire("tlsServerName"))


@attrs.frozen(kw_only=True)
class ResolverSpecSpec:
    """Servers in the order in which they are asked: `dns_servers` are the addresses of all of `name_servers`.

    `search_domains_overridden`: the domains replace those of lower layers even if there are none.
    """

    dns_servers: tuple[str, ...] = ()
    name_servers: tuple[NameServer, ...] = attrs.field(default=(), metadata=_OPTIONAL)
    layer: ConfigLayer = ConfigLayer.DEFAULT
    search_domains: tuple[str, ...] = attrs.field(default=(), metadata=_OPTIONAL)
    search_domains_overridden: bool = attrs.field(default=False, metadata=_OPTIONAL)


@attrs.frozen(kw_only=True)
class ResolverStatusSpec:
    """Servers and search domains that are in effect."""

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
