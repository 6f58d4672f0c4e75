"""How programs get to know the names of members: pure rules from the configuration to what systemd-resolved is told.

Theory of operation. The node's own DNS server listens on the loopback. systemd-resolved asks it for names under the
domain, and for the addresses of the mesh, and for nothing else: the link of the mesh gets the server, the domain and
the reverse zone, and is no default route for names. So the resolvers that the machine has stay its resolvers, also if
the server does not answer.

What the link has from somebody else stays: it is registered only if it has nothing, or what an agent registered.
"""

import ipaddress
from collections.abc import Collection, Mapping
from typing import Any

import attrs

from nodespan.controllers.common.reverse_zones import reverse_zones
from nodespan.resources.cluster import NameServiceStatusSpec
from nodespan.resources.config import MachineConfigSpec
from nodespan.resources.config.nodespan import NameMode
from nodespan.resources.network import HostDNSConfigSpec

# The port that systemd-resolved does not show.
_DNS = ":53"
# The beginnings of the ids of listeners.
_UDP = ("udp", "udp6")


@attrs.frozen
class Registration:
    """What systemd-resolved has for a link: servers and domains in its notation."""

    servers: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether it has nothing."""
        return not (self.servers or self.domains)

    def is_part_of(self, other: "Registration") -> bool:
        """Whether all of it is in another one, as after a registration that was cut off."""
        return set(self.servers) <= set(other.servers) and set(self.domains) <= set(other.domains)


@attrs.frozen
class Plan:
    """What is shown, what is registered for the link of the mesh, and what is wrong."""

    status: NameServiceStatusSpec | None = None
    registration: Registration | None = None
    problem: str = ""


@attrs.frozen(kw_only=True)
class Situation:
    """What the plan depends on beside the configuration. `listeners` are ids of DNSResolveCache."""

    host_dns: HostDNSConfigSpec = attrs.field(factory=HostDNSConfigSpec)
    listeners: Collection[str] = ()
    subnet: str = ""
    has_link: bool = False
    has_hosts: bool = False
    # Whether the node's own DNS server has servers that it asks for other names.
    asks_others: bool = False
    link: str = ""


def plan(config: MachineConfigSpec, now: Situation) -> Plan:
    """The plan; the status is None where no names are made."""
    settings = config.nodespan.names
    if not config.names_members:
        return Plan()
    servers = local_servers(now.host_dns) if now.host_dns.resolve_member_names else ()
    shown = NameServiceStatusSpec(mode=str(settings.mode), domain=settings.domain, servers=servers)
    missing = "" if servers else "the node's own DNS server does not know members: write hostDNS: {enabled: true, "
    missing += "" if servers else "resolveMemberNames: true} into machine.features"
    is_up = bool(servers) and any(f"{kind}-{server}" in now.listeners for server in servers for kind in _UDP)
    match settings.mode:
        case NameMode.HOSTS:
            message = "their names are in /etc/hosts" if now.has_hosts else "/etc/hosts has no names of members yet"
            return Plan(attrs.evolve(shown, ready=now.has_hosts, message=message))
        case NameMode.RESOLVED:
            shown = attrs.evolve(shown, link=now.link)
            if missing or not now.has_link:
                problem = missing or (
                    f"there is no link {now.link} that systemd-resolved could know the domain by: "
                    "it comes with KubeSpan; without it use mode: hosts"
                )
                return Plan(attrs.evolve(shown, message=problem), problem=problem)
            if not is_up:
                return Plan(attrs.evolve(shown, message="the node's own DNS server is about to start"))
            domains = (settings.domain, *(f"~{zone}" for zone in reverse_zones(now.subnet)))
            registration = Registration(tuple(map(as_resolved_shows, servers)), domains)
            return Plan(attrs.evolve(shown, ready=True, message=how_registered(settings.domain)), registration)
        case NameMode.STUB:
            if missing:
                return Plan(attrs.evolve(shown, message=missing), problem=missing)
            return Plan(attrs.evolve(shown, ready=is_up, message=how_to_ask(settings.domain, servers, now)))
    message = "only the node's own DNS server knows them" if servers else missing
    return Plan(attrs.evolve(shown, ready=is_up, message=message))


def how_registered(domain: str) -> str:
    """What programs do with systemd-resolved: nothing."""
    return f"systemd-resolved asks the node's own DNS server for names under {domain}"


def how_to_ask(domain: str, servers: Collection[str], now: Situation) -> str:
    """What an operator does with the address alone."""
    forward = f"forward {domain or 'names of members'} to {next(iter(servers))}"
    if now.asks_others:
        return f"{forward}, or make it the machine's name server"
    return f"{forward}; it has no servers to ask for other names, until nameservers are in a ResolverConfig"


def local_servers(host_dns: HostDNSConfigSpec) -> tuple[str, ...]:
    """Where the machine itself asks the node's own DNS server."""
    if not host_dns.enabled:
        return ()
    return tuple(
        listen
        for listen in host_dns.listen_addresses
        if ipaddress.ip_address(listen.rpartition(":")[0].strip("[]")).is_loopback
    )


def as_resolved_shows(server: str) -> str:
    """An `address:port` as systemd-resolved shows it: without the usual port, and then without brackets."""
    return server.removesuffix(_DNS).strip("[]") if server.endswith(_DNS) else server


def commands(link: str, registration: Registration) -> tuple[tuple[str, ...], ...]:
    """What registers it. The server comes last: before, nothing is asked, and then only what is meant for it."""
    return (
        ("resolvectl", "default-route", link, "no"),
        ("resolvectl", "domain", link, *registration.domains),
        # Where the machine wants these of all servers, its own could not be asked.
        ("resolvectl", "dnssec", link, "no"),
        ("resolvectl", "dnsovertls", link, "no"),
        ("resolvectl", "dns", link, *registration.servers),
    )


def shown_values(output: str) -> tuple[str, ...]:
    """The values in `Link 4 (kubespan): VALUE VALUE`; none where the program prints something else."""
    _, found, values = output.strip().partition("): ")
    return tuple(values.split()) if found else ()


def registration_to_plain(registration: Registration) -> dict[str, list[str]]:
    """A registration as it is recorded."""
    return {"servers": list(registration.servers), "domains": list(registration.domains)}


def registration_from_plain(plain: Any) -> Registration:
    """A registration as it was recorded; what makes no sense is one of nothing."""
    if not isinstance(plain, Mapping):
        return Registration()
    servers, domains = plain.get("servers"), plain.get("domains")
    if not (isinstance(servers, list) and isinstance(domains, list)):
        return Registration()
    return Registration(tuple(map(str, servers)), tuple(map(str, domains)))
