"""k8s.AddressFilterController: which addresses are those of pods and services, and which are the node's own."""

from collections.abc import Iterable
from ipaddress import ip_network

from nodespan.resources.config import MACHINE_CONFIG_ID, KubeNetworkConfig, MachineConfig, MachineConfigSpec
from nodespan.resources.config.kubernetes import DEFAULT_POD_SUBNETS, DEFAULT_SERVICE_SUBNETS
from nodespan.resources.network import NO_K8S_ID, ONLY_K8S_ID, NodeAddressFilter, NodeAddressFilterSpec
from nodespan.runtime.controller import Controller, ControllerContext, exclusive, weak

_EVERYTHING = ("0.0.0.0/0", "::/0")


def kubernetes_subnets(config: MachineConfigSpec) -> tuple[str, ...]:
    """The subnets of pods, this node's own pod networks, and those of services; empty without any.

    A Talos node learns its own pod networks from Kubernetes; here `podNetworks` of the configuration stand for them.
    """
    pods: Iterable[str] = ()
    services: Iterable[str] = ()
    document = next(iter(config.documents_of(KubeNetworkConfig)), None)
    section = config.cluster.network
    if document is not None:
        pods, services = document.pod_subnets, document.service_subnets
    elif section is not None:
        pods = section.pod_subnets or DEFAULT_POD_SUBNETS
        services = section.service_subnets or DEFAULT_SERVICE_SUBNETS
    every = (*pods, *config.nodespan.pod_networks, *services)
    return tuple(str(ip_network(subnet, strict=False)) for subnet in every)


def address_filters(config: MachineConfigSpec) -> dict[str, NodeAddressFilterSpec]:
    """The two filters by id. Without such subnets, `no-k8s` keeps everything and `only-k8s` nothing."""
    subnets = kubernetes_subnets(config)
    only = NodeAddressFilterSpec(include_subnets=subnets)
    return {
        NO_K8S_ID: NodeAddressFilterSpec(exclude_subnets=subnets),
        ONLY_K8S_ID: only if subnets else NodeAddressFilterSpec(exclude_subnets=_EVERYTHING),
    }


class AddressFilterController(Controller):
    """Writes `no-k8s` and `only-k8s` while there is a configuration."""

    name = "k8s.AddressFilterController"
    only_derives = True
    inputs = (weak(MachineConfig, MACHINE_CONFIG_ID),)
    outputs = (exclusive(NodeAddressFilter),)

    async def run(self, ctx: ControllerContext) -> None:
        """Follow the configuration."""
        async for _ in ctx:
            async with ctx.tracked_outputs(NodeAddressFilter):
                config = ctx.find(MachineConfig, MACHINE_CONFIG_ID)
                for id, spec in ({} if config is None else address_filters(config.spec)).items():
                    await ctx.put(NodeAddressFilter, id, spec)
