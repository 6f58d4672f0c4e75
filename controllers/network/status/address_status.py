"""network.AddressStatusController: shows each IP address of the kernel."""

import attrs

from nodespan.controllers.common.publication import LinkIndex, Publication
from nodespan.kernel.addresses import Addresses, AddressKey
from nodespan.kernel.links import LinkNames
from nodespan.kernel.mirror import open_mirror
from nodespan.resources.network import AddressStatus, AddressStatusSpec, address_id
from nodespan.runtime.controller import Controller, ControllerContext, destroy_ready, shared


class AddressStatusController(Controller):
    """One status per address and link. An event about an address touches that address, a new name of a link its own."""

    name = "network.AddressStatusController"
    inputs = (destroy_ready(AddressStatus),)
    # Shared, for the discovery service controller shows the public address as one too.
    outputs = (shared(AddressStatus),)

    def __init__(self, *, netns: str | None = None) -> None:
        self._netns = netns

    async def run(self, ctx: ControllerContext) -> None:
        """Follow the kernel."""
        async with (
            open_mirror(LinkNames(), netns=self._netns, on_change=ctx.wake) as names,
            open_mirror(Addresses(), netns=self._netns, on_change=ctx.wake) as addresses,
        ):
            publication: Publication[AddressKey, AddressStatusSpec] = Publication(ctx, AddressStatus)
            by_link: LinkIndex[AddressKey] = LinkIndex()
            async for _ in ctx:
                touched = addresses.take() | by_link.keys(names.take())
                wanted: dict[AddressKey, dict[str, AddressStatusSpec]] = {}
                for key in touched:
                    found = addresses.items.get(key, ())
                    by_link.set(key, (key.link_index,) if found else ())
                    # The message about the link may come after those about its addresses: they wait for the name.
                    name = names.items.get(key.link_index)
                    wanted[key] = {}
                    if found and name is not None:
                        wanted[key] = {address_id(name, key.address): attrs.evolve(found[0], link_name=name)}
                await publication.publish(wanted)
