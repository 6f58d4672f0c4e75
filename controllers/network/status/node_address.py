"""network.NodeAddressController: says which IP addresses the node has, and which one stands for it."""

from collections.abc import Mapping

from nodespan.controllers.common.problems import Problems
from nodespan.controllers.network.status.node_address_rules import (
    container_addresses,
    current_addresses,
    default_address,
    filter_addresses,
    local_addresses,
    present_addresses,
    routed_addresses,
    sort_addresses,
)
from nodespan.resources.network import (
    ACCUMULATIVE_ADDRESSES_ID,
    CURRENT_ADDRESSES_ID,
    DEFAULT_ADDRESS_ID,
    NO_K8S_ID,
    ROUTED_ADDRESSES_ID,
    ROUTED_NO_K8S_ID,
    SORT_ALGORITHM_ID,
    AddressSortAlgorithm,
    AddressStatus,
    LinkStatus,
    NetworkProblem,
    NodeAddress,
    NodeAddressFilter,
    NodeAddressSortAlgorithm,
    NodeAddressSpec,
)
from nodespan.runtime.controller import Controller, ControllerContext, exclusive, shared, weak


class NodeAddressController(Controller):
    """Writes `current`, `routed` and `accumulative`, each also as `<kind>-<filter>`, and `default`.

    The lists of the filter `no-k8s` are those of the node itself, so they lack the addresses of container bridges too,
    which a machine that is no Talos node has, with and without Kubernetes.
    """

    name = "network.NodeAddressController"
    inputs = (
        weak(AddressStatus),
        weak(LinkStatus),
        weak(NodeAddressFilter),
        weak(NodeAddressSortAlgorithm, SORT_ALGORITHM_ID),
    )
    outputs = (exclusive(NodeAddress), shared(NetworkProblem))

    def __init__(self) -> None:
        # Also those of bridges that are gone, for the accumulative list keeps them.
        self._container: frozenset[str] = frozenset()

    async def run(self, ctx: ControllerContext) -> None:
        """Follow the addresses and the links."""
        problems = Problems(ctx, NodeAddressFilter)
        async for _ in ctx:
            specs = self._node_addresses(ctx)
            async with ctx.tracked_outputs(NodeAddress):
                for id, spec in specs.items():
                    await ctx.put(NodeAddress, id, spec)
            await problems.show(self._overlap(ctx, specs), loud=frozenset({NO_K8S_ID}))

    def _node_addresses(self, ctx: ControllerContext) -> dict[str, NodeAddressSpec]:
        configured = ctx.find(NodeAddressSortAlgorithm, SORT_ALGORITHM_ID)
        algorithm = AddressSortAlgorithm.V1 if configured is None else configured.spec.algorithm
        links = {link.id: link.spec for link in ctx.list(LinkStatus)}
        statuses = [address.spec for address in ctx.list(AddressStatus)]
        found = current_addresses(statuses, links)
        local = local_addresses(found, links)
        seen = ctx.find(NodeAddress, ACCUMULATIVE_ADDRESSES_ID)
        container, own = container_addresses(statuses, links)
        self._container = (self._container | container) - own

        current = sort_addresses((candidate.address for candidate in found), algorithm)
        lists = {
            CURRENT_ADDRESSES_ID: current,
            ROUTED_ADDRESSES_ID: routed_addresses(sort_addresses((each.address for each in local), algorithm)),
            ACCUMULATIVE_ADDRESSES_ID: sort_addresses(
                (*present_addresses(statuses), *(() if seen is None else seen.spec.addresses)), algorithm
            ),
        }
        for rule in ctx.list(NodeAddressFilter):
            for kind in (CURRENT_ADDRESSES_ID, ROUTED_ADDRESSES_ID, ACCUMULATIVE_ADDRESSES_ID):
                kept = filter_addresses(lists[kind], rule.spec)
                if rule.id == NO_K8S_ID:
                    kept = tuple(address for address in kept if address not in self._container)
                lists[f"{kind}-{rule.id}"] = kept

        last = ctx.find(NodeAddress, DEFAULT_ADDRESS_ID)
        previous = last.spec.addresses[0] if last is not None and last.spec.sort_algorithm == algorithm else None
        outside = ctx.find(NodeAddressFilter, NO_K8S_ID)
        default = default_address(local, algorithm, previous, links, None if outside is None else outside.spec)
        if default is not None:
            lists[DEFAULT_ADDRESS_ID] = (default,)
        return {id: NodeAddressSpec(addresses=addresses, sort_algorithm=algorithm) for id, addresses in lists.items()}

    def _overlap(self, ctx: ControllerContext, specs: Mapping[str, NodeAddressSpec]) -> dict[str, str]:
        """The problem that the networks of pods and services hold all addresses of the node."""
        outside = ctx.find(NodeAddressFilter, NO_K8S_ID)
        routed = [each for each in specs[ROUTED_ADDRESSES_ID].addresses if each not in self._container]
        if outside is None or not routed or specs[ROUTED_NO_K8S_ID].addresses:
            return {}
        message = (
            f"no address is left to announce to other nodes: {', '.join(routed)} lie in the networks of pods and "
            f"services ({', '.join(outside.spec.exclude_subnets)}); change podSubnets, serviceSubnets or podNetworks"
        )
        return {NO_K8S_ID: message}
