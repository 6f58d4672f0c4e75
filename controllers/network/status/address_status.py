"""network.AddressStatusController: shows each IP address of the kernel."""

from collections.abc import Mapping

import attrs

from nodespan.controllers.network.status.linked_objects import publish_linked
from nodespan.kernel.addresses import Addresses, AddressKey
from nodespan.kernel.links import KernelLink
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
        await publish_linked(
            ctx,
            AddressStatus,
            Addresses(),
            netns=self._netns,
            links_of=lambda key, _: (key.link_index,),
            statuses=_statuses,
        )


def _statuses(
    key: AddressKey, found: tuple[AddressStatusSpec, ...], links: Mapping[int, KernelLink]
) -> dict[str, AddressStatusSpec]:
    link = links.get(key.link_index)
    if link is None:
        return {}
    return {address_id(link.name, key.address): attrs.evolve(found[0], link_name=link.name)}
