"""Renders the files for resolvers, time services and programs: pure functions from specs to text."""

from collections.abc import Iterable, Iterator, Mapping

from nodespan.resources.cluster import MemberNameSpec
from nodespan.resources.network import DNSProtocol, NameServer, ResolverStatusSpec

HEADER = "# Written by nodespan from the machine configuration; changes are overwritten.\n"
# The C library reads no more name servers from resolv.conf.
_MOST_NAMESERVERS = 3
_CLOCK = "/dev/ptp"


def servers_of(spec: ResolverStatusSpec) -> tuple[NameServer, ...]:
    """The name servers; those without a protocol use plain DNS."""
    return spec.name_servers or tuple(NameServer(addr=address) for address in spec.dns_servers)


def plain_servers(spec: ResolverStatusSpec) -> tuple[str, ...]:
    """The servers that can stand in resolv.conf."""
    return tuple(server.addr for server in servers_of(spec) if server.protocol is DNSProtocol.DO53)


def resolv_conf(spec: ResolverStatusSpec) -> str:
    """/etc/resolv.conf with the plain DNS servers, at most three."""
    text = HEADER + "".join(f"nameserver {address}\n" for address in plain_servers(spec)[:_MOST_NAMESERVERS])
    return f"{text}\nsearch {' '.join(spec.search_domains)}\n" if spec.search_domains else text


def resolved_protocol(spec: ResolverStatusSpec) -> DNSProtocol:
    """The protocol for systemd-resolved, which has one for all servers: TLS if any server is configured for it.

    Its opportunistic mode falls back to plain text when TLS fails, which was not requested.
    """
    return DNSProtocol.DOT if any(s.protocol is DNSProtocol.DOT for s in servers_of(spec)) else DNSProtocol.DO53


def resolved_conf(spec: ResolverStatusSpec) -> str:
    """A part of the configuration of systemd-resolved, "" if there is nothing for it.

    The servers take the place of those in its other files, and are preferred for all names to those that links have of
    their own. So do search domains, if there are any.
    """
    protocol = resolved_protocol(spec)
    servers = [server for server in servers_of(spec) if server.protocol is protocol]
    names = [f"{server.addr}#{server.tls_server_name}" if server.tls_server_name else server.addr for server in servers]
    lines = []
    if names:
        # An empty assignment clears what was listed before.
        lines += ["DNS=", f"DNS={' '.join(names)}"]
        if protocol is DNSProtocol.DOT:
            lines.append("DNSOverTLS=yes")
    if spec.search_domains:
        lines.append("Domains=")
    if domains := (*spec.search_domains, *(("~.",) if names else ())):
        lines.append(f"Domains={' '.join(domains)}")
    return HEADER + "\n".join(("[Resolve]", *lines, "")) if lines else ""


def timesyncd_conf(servers: Iterable[str]) -> str:
    """A part of the configuration of systemd-timesyncd, of servers that take the place of those in its other files."""
    return f"{HEADER}[Time]\nNTP=\nNTP={' '.join(servers)}\n"


def chrony_lines(servers: Iterable[str], *, use_nts: bool, trust: str = "") -> str:
    """The lines of chrony's configuration that make it prefer these servers and clocks.

    With NTS the lines include `trust`, so that they change whenever it does.
    """
    options = " iburst prefer nts" if use_nts else " iburst prefer"
    return (f"# Authorities: {trust}\n" if use_nts else "") + "".join(
        f"refclock PHC {server} poll 2 prefer\n" if is_clock(server) else f"server {server}{options}\n"
        for server in servers
    )


def is_clock(server: str) -> bool:
    """Whether it is a local clock device rather than a server."""
    return server.startswith(_CLOCK)


def hosts_lines(
    own: tuple[str, tuple[str, ...]] | None,
    others: Mapping[str, tuple[str, ...]],
    members: Iterable[tuple[str, tuple[str, ...]]] = (),
) -> str:
    """Lines for /etc/hosts, in columns: this node's address and names, if known, those of others, those of members."""
    lines = [own] if own is not None and own[1] else []
    lines += [(address, names) for address, names in (*others.items(), *members) if names]
    width = max((len(address) for address, _ in lines), default=0)
    return "".join(f"{address:<{width}} {' '.join(names)}\n" for address, names in lines)


def member_hosts(names: Mapping[str, MemberNameSpec]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The addresses of members, each with the names that lead to it: first the one that it leads back to."""
    by_canonical: dict[str, list[str]] = {}
    for name, spec in names.items():
        by_canonical.setdefault(spec.canonical_name, []).append(name)
    for canonical, found in sorted(by_canonical.items()):
        if canonical not in found:
            continue  # it is being made or removed
        for address in names[canonical].addresses:
            yield address, (canonical, *sorted(name for name in found if name != canonical))
