"""cluster.LocalAffiliateController: what this node announces to the others."""

from nodespan.controllers.cluster.local_affiliate_rules import (
    configured_vips,
    own_endpoints,
    plain_addresses,
)
from nodespan.resources.cluster import (
    DISCOVERY_CONFIG_ID,
    LOCAL,
    NAMESPACE,
    PUBLIC_ADDRESS_ID,
    Affiliate,
    AffiliateSpec,
    DiscoveryConfig,
    Identity,
    KubeSpanAffiliate,
    MachineType,
)
from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig, MachineConfigSpec
from nodespan.resources.kubespan import (
    KUBESPAN_CONFIG_ID,
    KubeSpanConfig,
    KubeSpanIdentity,
    KubeSpanPortMapping,
    KubeSpanRelayStatus,
)
from nodespan.resources.network import (
    CURRENT_NO_K8S_ID,
    HOSTNAME_ID,
    ROUTED_NO_K8S_ID,
    AddressStatus,
    HostnameStatus,
    NodeAddress,
)
from nodespan.runtime.controller import Controller, ControllerContext, shared, weak

_PUBLIC_ADDRESS = AddressStatus.within(NAMESPACE)


class LocalAffiliateController(Controller):
    """Writes the affiliate of this node's id while a discovery service is configured.

    A machine without Kubernetes goes by its host name as node name. It serves no Kubernetes API, hence there is never a
    control-plane part; `podNetworks` of the configuration stand in for what a Kubernetes node would know of its pods.
    """

    name = "cluster.LocalAffiliateController"
    inputs = (
        weak(DiscoveryConfig, DISCOVERY_CONFIG_ID),
        weak(Identity, LOCAL),
        weak(HostnameStatus, HOSTNAME_ID),
        weak(NodeAddress),
        weak(MachineConfig, MACHINE_CONFIG_ID),
        weak(KubeSpanConfig, KUBESPAN_CONFIG_ID),
        weak(KubeSpanIdentity, LOCAL),
        weak(_PUBLIC_ADDRESS, PUBLIC_ADDRESS_ID),
        weak(KubeSpanRelayStatus),
        weak(KubeSpanPortMapping, LOCAL),
    )
    outputs = (shared(Affiliate),)

    def __init__(self, *, version: str) -> None:
        self._operating_system = f"nodespan ({version})"

    async def run(self, ctx: ControllerContext) -> None:
        """Follow everything that the node announces."""
        # Looked for once: there are as many affiliates as there are nodes.
        published = {found.id for found in ctx.list(Affiliate) if found.metadata.owner == self.name}
        async for _ in ctx:
            spec = self._spec(ctx)
            for node_id in published - ({spec.node_id} if spec is not None else set()):
                await ctx.teardown_and_destroy(Affiliate, node_id)
                published.discard(node_id)
            if spec is not None:
                await ctx.put(Affiliate, spec.node_id, spec)
                published.add(spec.node_id)

    def _spec(self, ctx: ControllerContext) -> AffiliateSpec | None:
        config, identity = ctx.find(DiscoveryConfig, DISCOVERY_CONFIG_ID), ctx.find(Identity, LOCAL)
        hostname, machine = ctx.find(HostnameStatus, HOSTNAME_ID), ctx.find(MachineConfig, MACHINE_CONFIG_ID)
        routed, current = ctx.find(NodeAddress, ROUTED_NO_K8S_ID), ctx.find(NodeAddress, CURRENT_NO_K8S_ID)
        if (
            config is None
            or identity is None
            or hostname is None
            or machine is None
            or routed is None
            or current is None
        ):
            return None
        if not config.spec.service_endpoints or not hostname.spec.hostname:
            return None
        return AffiliateSpec(
            node_id=identity.spec.node_id,
            addresses=plain_addresses(routed.spec.addresses),
            hostname=hostname.spec.names[0],
            nodename=hostname.spec.hostname,
            operating_system=self._operating_system,
            machine_type=MachineType(machine.spec.machine.type.value),
            kubespan=_kubespan(ctx, machine.spec, current.spec.addresses),
        )


def _kubespan(
    ctx: ControllerContext, machine: MachineConfigSpec, addresses: tuple[str, ...]
) -> KubeSpanAffiliate | None:
    config, identity = ctx.find(KubeSpanConfig, KUBESPAN_CONFIG_ID), ctx.find(KubeSpanIdentity, LOCAL)
    if config is None or identity is None:
        return None
    mapping = ctx.find(KubeSpanPortMapping, LOCAL)
    public = ctx.find(_PUBLIC_ADDRESS, PUBLIC_ADDRESS_ID)
    address = identity.spec.address.partition("/")[0]
    return KubeSpanAffiliate(
        public_key=identity.spec.public_key,
        address=address,
        additional_addresses=machine.nodespan.pod_networks if config.spec.advertise_kubernetes_networks else (),
        endpoints=own_endpoints(
            kubespan_address=address,
            current_addresses=addresses,
            public_addresses=() if public is None else plain_addresses([public.spec.address]),
            filters=config.spec.endpoint_filters,
            extra=config.spec.extra_endpoints,
            vips=configured_vips(machine),
            port=config.spec.listen_port,
            mapped=() if mapping is None or not mapping.spec.external else (mapping.spec.external,),
            relayed=[
                endpoint
                for relay in ctx.list(KubeSpanRelayStatus)
                if relay.spec.announced
                for endpoint in relay.spec.endpoints
            ],
        ),
        exclude_advertised_networks=config.spec.exclude_advertised_networks,
    )
