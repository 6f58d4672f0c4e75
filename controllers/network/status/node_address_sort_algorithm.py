"""network.NodeAddressSortAlgorithmController: says in which order the node's addresses are listed."""

from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig
from nodespan.resources.network import (
    SORT_ALGORITHM_ID,
    AddressSortAlgorithm,
    NodeAddressSortAlgorithm,
    NodeAddressSortAlgorithmSpec,
)
from nodespan.runtime.controller import Controller, ControllerContext, exclusive, weak


class NodeAddressSortAlgorithmController(Controller):
    """Writes `default`: what the configuration says, and v1 without one."""

    name = "network.NodeAddressSortAlgorithmController"
    only_derives = True
    inputs = (weak(MachineConfig, MACHINE_CONFIG_ID),)
    outputs = (exclusive(NodeAddressSortAlgorithm),)

    async def run(self, ctx: ControllerContext) -> None:
        """Follow the configuration."""
        async for _ in ctx:
            config = ctx.find(MachineConfig, MACHINE_CONFIG_ID)
            algorithm = AddressSortAlgorithm.V1
            if config is not None:
                algorithm = AddressSortAlgorithm(config.spec.machine.features.node_address_sort_algorithm.value)
            await ctx.put(
                NodeAddressSortAlgorithm, SORT_ALGORITHM_ID, NodeAddressSortAlgorithmSpec(algorithm=algorithm)
            )
