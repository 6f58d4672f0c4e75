"""kubespan.ConfigController: the settings of KubeSpan, from whichever documents they stand in."""

from ipaddress import ip_address, ip_network

from nodespan.controllers.kubespan.data_path import DEFAULT_MTU
from nodespan.resources.config import (
    MACHINE_CONFIG_ID,
    DiscoveryIdentityConfig,
    KubeSpanEndpointsConfig,
    MachineConfig,
    MachineConfigSpec,
)
from nodespan.resources.config import KubeSpanConfig as KubeSpanDocument
from nodespan.resources.config.kubespan import KubeSpan
from nodespan.resources.config.nodespan import StaticPeer
from nodespan.resources.kubespan import KUBESPAN_CONFIG_ID, KubeSpanConfig, KubeSpanConfigSpec, KubeSpanStaticPeer
from nodespan.runtime.controller import Controller, ControllerContext, exclusive, weak


def kubespan_config(machine: MachineConfigSpec) -> KubeSpanConfigSpec | None:
    """The settings in effect; None where there is no cluster identity to work with.

    The document of its own stands before the section of the main document, and the cluster's id and secret of the main
    document before those of the identity document; validation refuses to have both.
    """
    identities = machine.documents_of(DiscoveryIdentityConfig)
    cluster_id, secret = machine.cluster.id, machine.cluster.secret
    if not (cluster_id or secret) and identities:
        cluster_id, secret = identities[0].cluster_id, identities[0].cluster_secret
    if not (cluster_id or secret):
        return None
    documents = machine.documents_of(KubeSpanDocument)
    settings: KubeSpan | KubeSpanDocument = (
        documents[0] if documents else machine.machine.network.kubespan or KubeSpan()
    )
    filters = settings.filters
    return KubeSpanConfigSpec(
        enabled=settings.enabled,
        cluster_id=cluster_id,
        shared_secret=secret,
        force_routing=not settings.allow_down_peer_bypass,
        advertise_kubernetes_networks=settings.advertise_kubernetes_networks,
        mtu=settings.mtu or DEFAULT_MTU,
        endpoint_filters=None if filters is None else filters.endpoints,
        harvest_extra_endpoints=settings.harvest_extra_endpoints,
        extra_endpoints=tuple(
            endpoint
            for document in machine.documents_of(KubeSpanEndpointsConfig)
            for endpoint in document.extra_announced_endpoints
        ),
        exclude_advertised_networks=() if filters is None else filters.exclude_advertised_networks,
        peer_endpoint_filters=None if filters is None else filters.peer_endpoints,
        accepted_networks=machine.nodespan.accept_networks,
        listen_port=machine.nodespan.kubespan.listen_port,
        measure_paths=machine.nodespan.kubespan.measure_paths or machine.nodespan.kubespan.auto_mtu,
        auto_mtu=machine.nodespan.kubespan.auto_mtu,
        port_mapping=machine.nodespan.kubespan.port_mapping,
        static_peers=tuple(map(_static_peer, machine.nodespan.kubespan.static_peers or ())),
        relays=machine.nodespan.kubespan.relays,
    )


def _static_peer(peer: StaticPeer) -> KubeSpanStaticPeer:
    return KubeSpanStaticPeer(
        public_key=peer.public_key,
        label=peer.name,
        # As the kernel writes it: where answers come from is compared with it.
        address=str(ip_address(peer.address)) if peer.address else "",
        endpoints=peer.endpoints,
        allowed_ips=tuple(str(ip_network(address, strict=False)) for address in peer.allowed_addresses),
    )


class ConfigController(Controller):
    """Writes `kubespan` while the machine has a configuration with a cluster identity."""

    name = "kubespan.ConfigController"
    only_derives = True
    inputs = (weak(MachineConfig, MACHINE_CONFIG_ID),)
    outputs = (exclusive(KubeSpanConfig),)

    async def run(self, ctx: ControllerContext) -> None:
        """Follow the configuration."""
        async for _ in ctx:
            async with ctx.tracked_outputs(KubeSpanConfig):
                machine = ctx.find(MachineConfig, MACHINE_CONFIG_ID)
                config = None if machine is None else kubespan_config(machine.spec)
                if config is not None:
                    await ctx.put(KubeSpanConfig, KUBESPAN_CONFIG_ID, config)
