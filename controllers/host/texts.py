"""The files by which resolvers, clocks and programs are told: pure functions from what is wanted to text."""

from collections.abc import Iterable, Mapping

from resources.network import DNSProtocol, NameServer, ResolverStatusSpec

HEADER = "# Written by nodespan from the machine configuration; changes are overwritten.\n"
# What the C library reads of resolv.conf.
_MOST_NAMESERVERS = 3
_CLOCK = "/dev/ptp"


def servers_of(spec: ResolverStatusSpec) -> tuple[NameServer, ...]:
    """The name servers: those without a protocol are asked in plain."""
    return spec.name_servers or tuple(NameServer(addr=address) for address in spec.dns_servers)


def plain_servers(spec: ResolverStatusSpec) -> tuple[str, ...]:
    """The servers that can stand in resolv.conf."""
    return tuple(server.addr for server in servers_of(spec) if server.protocol is DNSProtocol.DO53)


def resolv_conf(spec: ResolverStatusSpec) -> str:
    """/etc/resolv.conf, of the servers that are asked in plain, at most three."""
    text = HEADER + "".join(f"nameserver {address}\n" for address in plain_servers(spec)[:_MOST_NAMESERVERS])
    return f"{text}\nsearch {' '.join(spec.search_domains)}\n" if spec.search_domains else text


def resolved_conf(spec: ResolverStatusSpec) -> str:
    """A part of the configuration of systemd-resolved, of the servers that it can ask: all but those over HTTPS.

    With servers, they are preferred for all names to those that links have of their own.
    """
    servers = [server for server in servers_of(spec) if server.protocol is not DNSProtocol.DOH]
    names = [f"{server.addr}#{server.tls_server_name}" if server.tls_server_name else server.addr for server in servers]
    encrypted = sum(server.protocol is DNSProtocol.DOT for server in servers)
    lines = [f"DNS={' '.join(names)}"] if names else []
    if encrypted:
        lines.append(f"DNSOverTLS={'yes' if encrypted == len(servers) else 'opportunistic'}")
    domains = (*spec.search_domains, *(("~.",) if names else ()))
    if domains:
        lines.append(f"Domains={' '.join(domains)}")
    return HEADER + "\n".join(("[Resolve]", *lines, ""))


def timesyncd_conf(servers: Iterable[str]) -> str:
    """A part of the configuration of systemd-timesyncd, of the servers that are no clocks of this machine."""
    return f"{HEADER}[Time]\nNTP={' '.join(server for server in servers if not is_clock(server))}\n"


def chrony_lines(servers: Iterable[str], *, use_nts: bool) -> str:
    """The lines of chrony's configuration that make it prefer these servers and clocks."""
    options = " iburst prefer nts" if use_nts else " iburst prefer"
    return "".join(
        f"refclock PHC {server} poll 2 prefer\n" if is_clock(server) else f"server {server}{options}\n"
        for server in servers
    )


def is_clock(server: str) -> bool:
    """Whether it is a clock of this machine and not a server."""
    return server.startswith(_CLOCK)


def hosts_lines(own: tuple[str, tuple[str, ...]] | None, others: Mapping[str, tuple[str, ...]]) -> str:
    """Lines for /etc/hosts, in columns: this node's address and names, if known, and those of others."""
    lines = [own] if own is not None and own[1] else []
    lines += [(address, names) for address, names in others.items() if names]
    width = max((len(address) for address, _ in lines), default=0)
    return "".join(f"{address:<{width}} {' '.join(names)}\n" for address, names in lines)
