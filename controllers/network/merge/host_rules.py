"""How what several layers want of the node's name, its name servers and its time servers becomes one wish.

The layers are given in order, lowest first, equal ones by id.
"""

import ipaddress
from collections.abc import Iterable, Sequence

import attrs

from nodespan.resources.network import ConfigLayer, HostnameSpecSpec, NameServer, ResolverSpecSpec, TimeServerSpecSpec


def merge_hostnames(specs: Sequence[HostnameSpecSpec]) -> HostnameSpecSpec:
    """The highest layer's; of equal layers, the first."""
    return next(spec for spec in specs if spec.layer is specs[-1].layer)


def merge_time_servers(specs: Sequence[TimeServerSpecSpec]) -> TimeServerSpecSpec:
    """The highest layer's; equal layers add up, and want authenticated time only if all of them do."""
    merged, *higher = specs
    for spec in higher:
        if spec.layer is merged.layer:
            servers = _unique((*merged.time_servers, *spec.time_servers))
            spec = attrs.evolve(spec, time_servers=servers, use_nts=merged.use_nts and spec.use_nts)
        merged = spec
    return merged


def merge_resolvers(specs: Sequence[ResolverSpecSpec]) -> ResolverSpecSpec:
    """One above the other.

    The configuration replaces servers if it has some, and domains if it says so. Other layers replace servers but for a
    family of addresses that they have none of, and put their domains in front. Equal layers add up.
    """
    merged, *higher = specs
    servers, domains, overridden = _servers(merged), merged.search_domains, merged.search_domains_overridden
    layer = merged.layer
    for spec in higher:
        own = _servers(spec)
        if spec.layer is layer:
            servers = (*servers, *own)
            domains = (*domains, *spec.search_domains)
        elif spec.layer is ConfigLayer.CONFIGURATION:
            servers = own or servers
            domains = spec.search_domains if spec.search_domains_overridden else (*spec.search_domains, *domains)
        else:
            families = {_version(server) for server in own}
            servers = (*own, *(server for server in servers if _version(server) not in families))
            domains = (*spec.search_domains, *domains)
        layer, overridden = spec.layer, overridden or spec.search_domains_overridden
    unique = tuple(dict.fromkeys(servers))
    return ResolverSpecSpec(
        dns_servers=tuple(server.addr for server in unique),
        name_servers=unique,
        layer=layer,
        search_domains=_unique(domains),
        search_domains_overridden=overridden,
    )


def _servers(spec: ResolverSpecSpec) -> tuple[NameServer, ...]:
    return spec.name_servers or tuple(NameServer(addr=address) for address in spec.dns_servers)


def _version(server: NameServer) -> int:
    return ipaddress.ip_address(server.addr).version


def _unique(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))
