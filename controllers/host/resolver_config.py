"""network.ResolverConfigController: name servers by kernel command line, configuration and defaults.

There are no default servers unless configured: an ordinary machine has its own.
"""

import ipaddress
from collections.abc import Iterable, Iterator

from nodespan.controllers.common.cmdline import parse_cmdline
from nodespan.controllers.common.problems import Problems
from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig, MachineConfigSpec, ResolverConfig
from nodespan.resources.network import (
    CONFIG_NAMESPACE,
    HOSTNAME_ID,
    RESOLVERS_ID,
    ConfigLayer,
    DNSProtocol,
    HostnameStatus,
    NameServer,
    NetworkProblem,
    ResolverSpec,
    ResolverSpecSpec,
    layered_id,
)
from nodespan.resources.runtime import KERNEL_CMDLINE_ID, KernelCmdline
from nodespan.runtime.controller import Controller, ControllerContext, shared, weak

_UNMERGED = ResolverSpec.within(CONFIG_NAMESPACE)
_DEFAULT_SERVERS = (NameServer(addr="1.1.1.1"), NameServer(addr="8.8.8.8"))


def resolver_specs(config: MachineConfigSpec, *, cmdline: str, domain: str) -> Iterator[ResolverSpecSpec]:
    """The servers and search domains of all layers. `domain` is that of the node, "" for none."""
    network, documents = config.machine.network, config.documents_of(ResolverConfig)
    servers = tuple(NameServer(addr=text) for text in network.nameservers if _is_address(text))
    domains, derives = network.search_domains, not network.disable_search_domain
    if documents:
        document = documents[0]
        servers = tuple(
            NameServer(
                addr=server.address, protocol=DNSProtocol(server.protocol.value), tls_server_name=server.tls_server_name
            )
            for server in document.nameservers
        )
        domains, derives = document.search_domains.domains, not document.search_domains.disable_default
    named = [
        _spec(ConfigLayer.CMDLINE, (NameServer(addr=server) for server in parse_cmdline(cmdline).dns_servers)),
        _spec(ConfigLayer.CONFIGURATION, servers, domains),
    ]
    named = [spec for spec in named if spec.dns_servers or spec.search_domains_overridden]
    has_defaults = config.nodespan.defaults.resolvers
    if named or has_defaults:
        default = _spec(ConfigLayer.DEFAULT, _DEFAULT_SERVERS if has_defaults else ())
        own = (domain,) if derives and domain else ()
        if default.dns_servers or own:
            yield ResolverSpecSpec(
                dns_servers=default.dns_servers, name_servers=default.name_servers, search_domains=own
            )
    yield from named


def unreadable_servers(config: MachineConfigSpec) -> tuple[str, ...]:
    """Entries of the main document's name servers that are not addresses: Talos ignores them."""
    return tuple(text for text in config.machine.network.nameservers if not _is_address(text))


def _spec(
    layer: ConfigLayer, servers: Iterable[NameServer], domains: tuple[str, ...] | None = None
) -> ResolverSpecSpec:
    all_servers = tuple(servers)
    return ResolverSpecSpec(
        dns_servers=tuple(server.addr for server in all_servers),
        name_servers=all_servers,
        layer=layer,
        search_domains=domains or (),
        search_domains_overridden=domains is not None,
    )


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


class ResolverConfigController(Controller):
    """Writes a spec for each layer that names some, while there is a configuration."""

    name = "network.ResolverConfigController"
    only_derives = True
    inputs = (
        weak(MachineConfig, MACHINE_CONFIG_ID),
        weak(HostnameStatus, HOSTNAME_ID),
        weak(KernelCmdline, KERNEL_CMDLINE_ID),
    )
    outputs = (shared(ResolverSpec), shared(NetworkProblem))

    async def run(self, ctx: ControllerContext) -> None:
        """Follow the inputs of the resolvers."""
        problems = Problems(ctx, MachineConfig)
        async for _ in ctx:
            unreadable: tuple[str, ...] = ()
            async with ctx.tracked_outputs(_UNMERGED):
                config = ctx.find(MachineConfig, MACHINE_CONFIG_ID)
                if config is not None:
                    unreadable = unreadable_servers(config.spec)
                    hostname, line = ctx.find(HostnameStatus, HOSTNAME_ID), ctx.find(KernelCmdline, KERNEL_CMDLINE_ID)
                    specs = resolver_specs(
                        config.spec,
                        cmdline="" if line is None else line.spec.cmdline,
                        domain="" if hostname is None else hostname.spec.domainname,
                    )
                    for spec in specs:
                        await ctx.put(_UNMERGED, layered_id(spec.layer, RESOLVERS_ID), spec)
            key = "machine.network.nameservers"
            message = f"left out, for a name server is an IP address: {', '.join(unreadable)}"
            await problems.show({key: message} if unreadable else {}, loud=frozenset({key}))
