"""network.HardwareAddrController: says which hardware address stands for the node."""

from nodespan.controllers.network.status.node_address_rules import first_hardware_address
from nodespan.resources.network import FIRST_HARDWARE_ADDRESS_ID, HardwareAddr, LinkStatus
from nodespan.runtime.controller import Controller, ControllerContext, exclusive, weak


class HardwareAddrController(Controller):
    """Writes `first`: the first NIC by name. A node without a NIC has none."""

    name = "network.HardwareAddrController"
    inputs = (weak(LinkStatus),)
    outputs = (exclusive(HardwareAddr),)

    async def run(self, ctx: ControllerContext) -> None:
        """Follow the links."""
        async for _ in ctx:
            async with ctx.tracked_outputs(HardwareAddr):
                first = first_hardware_address({link.id: link.spec for link in ctx.list(LinkStatus)})
                if first is not None:
                    await ctx.put(HardwareAddr, FIRST_HARDWARE_ADDRESS_ID, first)
