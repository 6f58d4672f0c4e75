"""Names: resolvers, the node's own host name, and static hosts."""

from collections.abc import Iterator

from nodespan.controllers.common.quoting import quote
from nodespan.controllers.config.finding import Finding, at, under
from nodespan.controllers.config.notation import HOSTNAME_HINT, IP_HINT, is_hostname, is_ip
from nodespan.controllers.config.rules.base import RuleSet, check_ip_name, check_words, required
from nodespan.resources.config.host import (
    AutoHostname,
    DnsProtocol,
    HostnameConfig,
    ResolverConfig,
    StaticHostConfig,
)

RULES = RuleSet()


@RULES.document(ResolverConfig)
def check_resolver(resolver: ResolverConfig) -> Iterator[Finding]:
    """ResolverConfig, by itself; whether host DNS is enabled is known only with the main document."""
    for index, server in enumerate(resolver.nameservers):
        if not is_ip(server.address):
            message = f"{quote(server.address)} is not an IP address"
            yield at("nameservers", index, "address", message=message, hint=IP_HINT)
        is_encrypted = server.protocol is not DnsProtocol.PLAIN
        if is_encrypted and not server.tls_server_name:
            yield at("nameservers", index, "tlsServerName", message=f"{server.protocol} needs tlsServerName")
        if server.tls_server_name and not is_encrypted:
            yield at(
                "nameservers",
                index,
                "tlsServerName",
                message="tlsServerName is used only with DoT and DoH",
                hint="set protocol to DoT or DoH",
            )
        elif server.tls_server_name:
            yield from under(("nameservers", index), check_words("tlsServerName", server.tls_server_name))
    yield from under(
        ("searchDomains",), check_words("domains", *(resolver.search_domains.domains or ()), are_many=True)
    )
    host_dns = resolver.host_dns
    if host_dns and not host_dns.enabled:
        flags = {
            "forwardKubeDNSToHost": host_dns.forward_kube_dns_to_host,
            "resolveMemberNames": host_dns.resolve_member_names,
        }
        for key in (key for key, value in flags.items() if value):
            yield at("hostDNS", key, message=f"hostDNS.{key} needs hostDNS.enabled: true")


@RULES.document(HostnameConfig)
def check_hostname_config(hostname: HostnameConfig) -> Iterator[Finding]:
    """HostnameConfig."""
    if hostname.auto is None and not hostname.hostname:
        yield at("hostname", message="HostnameConfig needs auto or hostname")
    if hostname.auto is AutoHostname.STABLE and hostname.hostname:
        yield at("auto", message="auto and hostname exclude each other", hint="take one of the two away")
    if hostname.hostname and not is_hostname(hostname.hostname):
        yield at(
            "hostname",
            message=f"{quote(hostname.hostname)} is not a host name",
            hint=HOSTNAME_HINT,
        )


@RULES.document(StaticHostConfig)
def check_static_host(host: StaticHostConfig) -> Iterator[Finding]:
    """StaticHostConfig."""
    yield from check_ip_name(host)
    yield from required(host, ("hostnames", host.hostnames))
    yield from check_words("hostnames", *host.hostnames, are_many=True)
