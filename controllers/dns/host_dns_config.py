"""network.HostDNSConfigController: what the node's own DNS server does, by the configuration."""

from nodespan.resources.cluster import LOCAL
from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig, MachineConfigSpec, ResolverConfig
from nodespan.resources.config.main import HostDns
from nodespan.resources.kubespan import KubeSpanIdentity, KubeSpanIdentitySpec
from nodespan.resources.network import HOST_DNS_CONFIG_ID, HostDNSConfig, HostDNSConfigSpec
from nodespan.runtime.controller import Controller, ControllerContext, exclusive, weak

_MESH_PORT = 53


def host_dns_of(config: MachineConfigSpec) -> HostDns:
    """The section that counts: that of ResolverConfig if it enables the server, else that of the main document."""
    for document in config.documents_of(ResolverConfig):
        if document.host_dns is not None and document.host_dns.enabled:
            return document.host_dns
    return config.machine.features.host_dns or HostDns()


def host_dns_config(config: MachineConfigSpec, identity: KubeSpanIdentitySpec | None) -> HostDNSConfigSpec:
    """What the server does. `identity` is this node's in the mesh, None while it has none."""
    asked, settings = host_dns_of(config), config.nodespan.host_dns
    if not asked.enabled:
        return HostDNSConfigSpec()
    listen, subnet = settings.listen, ""
    if identity is not None and identity.address:
        # Wherever it listens: no answer of another server may lead into the mesh.
        subnet = identity.subnet
        if settings.mesh:
            listen += (f"[{identity.address.partition('/')[0]}]:{_MESH_PORT}",)
    return HostDNSConfigSpec(
        enabled=True,
        listen_addresses=listen,
        resolve_member_names=asked.resolve_member_names,
        mesh_subnet=subnet,
        domain=config.nodespan.names.domain,
        rebinding_allowed=tuple(domain.lower().rstrip(".") for domain in settings.rebinding_allowed),
    )


class HostDNSConfigController(Controller):
    """Writes one resource while there is a configuration; without one the server does not run."""

    name = "network.HostDNSConfigController"
    only_derives = True
    inputs = (weak(MachineConfig, MACHINE_CONFIG_ID), weak(KubeSpanIdentity, LOCAL))
    outputs = (exclusive(HostDNSConfig),)

    async def run(self, ctx: ControllerContext) -> None:
        """Follow the configuration and the address in the mesh."""
        async for _ in ctx:
            async with ctx.tracked_outputs(HostDNSConfig):
                config = ctx.find(MachineConfig, MACHINE_CONFIG_ID)
                if config is not None:
                    identity = ctx.find(KubeSpanIdentity, LOCAL)
                    spec = host_dns_config(config.spec, None if identity is None else identity.spec)
                    await ctx.put(HostDNSConfig, HOST_DNS_CONFIG_ID, spec)
