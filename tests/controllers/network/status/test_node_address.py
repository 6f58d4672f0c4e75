"""Which addresses of a node are in which list."""

from nodespan.controllers.network.status.node_address import NodeAddressController
from nodespan.resources.network import (
    AddressStatus,
    AddressStatusSpec,
    Family,
    LinkStatus,
    LinkStatusSpec,
    LinkType,
    NodeAddress,
    OperationalState,
    Scope,
    address_id,
)
from nodespan.runtime.testing.kit import running


async def test_accumulative_addresses_include_those_of_links_that_are_down() -> None:
    # The example of the originals: eth1 has no carrier.
    up = LinkStatusSpec(index=2, type=LinkType.ETHER, operational_state=OperationalState.UP, link_state=True)
    down = LinkStatusSpec(index=3, type=LinkType.ETHER, operational_state=OperationalState.DOWN)
    async with running(NodeAddressController()) as node:
        await node.put(LinkStatus, "eth0", up)
        await node.put(LinkStatus, "eth1", down)
        for link, address in (
            *(("eth0", "10.0.0.1/8"), ("eth0", "fe80::1/64"), ("lo", "127.0.0.1/8")),
            *(("eth1", "10.0.0.2/8"), ("eth1", "192.168.3.7/24")),
        ):
            family = Family.INET6 if ":" in address else Family.INET4
            scope = Scope.LINK if address.startswith("fe80") else Scope.HOST if link == "lo" else Scope.GLOBAL
            spec = AddressStatusSpec(address=address, link_name=link, family=family, scope=scope)
            await node.put(AddressStatus, address_id(link, address), spec)
        await node.settled()
        assert (await node.eventually(NodeAddress, "current")).spec.addresses == ("10.0.0.1/8",)
        accumulative = ("10.0.0.1/8", "10.0.0.2/8", "192.168.3.7/24")
        assert (await node.eventually(NodeAddress, "accumulative")).spec.addresses == accumulative
