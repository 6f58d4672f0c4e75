"""network.NodeAddressController: says which IP addresses the node has, and which one stands for it."""

from nodespan.controllers.network.status.node_address_rules import (
    current_addresses,
    default_address,
    filter_addresses,
    present_addresses,
    routed_addresses,
    sort_addresses,
)
from nodespan.resources.network import (
    ACCUMULATIVE_ADDRESSES_ID,
    CURRENT_ADDRESSES_ID,
    DEFAULT_ADDRESS_ID,
    ROUTED_ADDRESSES_ID,
    SORT_ALGORITHM_ID,
    AddressSortAlgorithm,
    AddressStatus,
    LinkStatus,
    NodeAddress,
    NodeAddressFilter,
    NodeAddressSortAlgorithm,
    NodeAddressSpec,
)
from nodespan.runtime.controller import Controller, ControllerContext, exclusive, weak


class NodeAddressController(Controller):
    """Writes `current`, `routed` and `accumulative`, each also as `<kind>-<filter>`, and `default`."""

    name = "network.NodeAddressController"
    inputs = (
        weak(AddressStatus),
        weak(LinkStatus),
        weak(NodeAddressFilter),
        weak(NodeAddressSortAlgorithm, SORT_ALGORITHM_ID),
    )
    outputs = (exclusive(NodeAddress),)

    async def run(self, ctx: ControllerContext) -> None:
        """Follow the addresses and the links."""
        async for _ in ctx:
            async with ctx.tracked_outputs(NodeAddress):
                for id, spec in _node_addresses(ctx).items():
                    await ctx.put(NodeAddress, id, spec)


def _node_addresses(ctx: ControllerContext) -> dict[str, NodeAddressSpec]:
    configured = ctx.find(NodeAddressSortAlgorithm, SORT_ALGORITHM_ID)
    algorithm = AddressSortAlgorithm.V1 if configured is None else configured.spec.algorithm
    links = {link.id: link.spec for link in ctx.list(LinkStatus)}
    statuses = [address.spec for address in ctx.list(AddressStatus)]
    found = current_addresses(statuses, links)
    seen = ctx.find(NodeAddress, ACCUMULATIVE_ADDRESSES_ID)

    current = sort_addresses((candidate.address for candidate in found), algorithm)
    lists = {
        CURRENT_ADDRESSES_ID: current,
        ROUTED_ADDRESSES_ID: routed_addresses(current),
        ACCUMULATIVE_ADDRESSES_ID: sort_addresses(
            (*present_addresses(statuses), *(() if seen is None else seen.spec.addresses)), algorithm
        ),
    }
    for rule in ctx.list(NodeAddressFilter):
        for kind in (CURRENT_ADDRESSES_ID, ROUTED_ADDRESSES_ID, ACCUMULATIVE_ADDRESSES_ID):
            lists[f"{kind}-{rule.id}"] = filter_addresses(lists[kind], rule.spec)

    last = ctx.find(NodeAddress, DEFAULT_ADDRESS_ID)
    previous = last.spec.addresses[0] if last is not None and last.spec.sort_algorithm == algorithm else None
    default = default_address(found, algorithm, previous, links)
    if default is not None:
        lists[DEFAULT_ADDRESS_ID] = (default,)
    return {id: NodeAddressSpec(addresses=addresses, sort_algorithm=algorithm) for id, addresses in lists.items()}
