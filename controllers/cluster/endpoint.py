"""cluster.EndpointController: where the control plane is, by the members that were found."""

from typing import Any

from nodespan.resources.addresses import AddressError, parse_address
from nodespan.resources.cluster import DISCOVERED, Endpoint, EndpointSpec, Member, MemberSpec
from nodespan.runtime.controller import QueueContext, QueueController, exclusive, primary
from nodespan.runtime.resource import Pointer


class EndpointController(QueueController):
    """Writes `discovered`, once there was a member of the control plane. Other members cost nothing."""

    name = "cluster.EndpointController"
    inputs = (primary(Member),)
    outputs = (exclusive(Endpoint),)

    def __init__(self) -> None:
        # The addresses of the members of the control plane, which are few.
        self._addresses: dict[str, tuple[str, ...]] = {}

    async def reconcile(self, ctx: QueueContext, item: Pointer[Any]) -> None:
        """A member came, changed or went."""
        member = ctx.find(Member, item.id)
        is_member = member is not None and not member.metadata.is_tearing_down
        addresses = control_plane_addresses(member.spec) if member is not None and is_member else ()
        if addresses == self._addresses.get(item.id, ()):
            return
        if addresses:
            self._addresses[item.id] = addresses
        else:
            del self._addresses[item.id]
        found = {address for known in self._addresses.values() for address in known}
        await ctx.put(Endpoint, DISCOVERED, EndpointSpec(addresses=sort_addresses(found)))


def control_plane_addresses(member: MemberSpec) -> tuple[str, ...]:
    """The addresses of the control plane that a member contributes."""
    return member.addresses if member.machine_type.is_control_plane else ()


def sort_addresses(addresses: set[str]) -> tuple[str, ...]:
    """IPv4 before IPv6, each by number; what is no address, by its text at the end."""

    def key(text: str) -> tuple[int, int, str]:
        try:
            address = parse_address(text)
        except AddressError:
            return (7, 0, text)
        return (address.version, int(address), text)

    return tuple(sorted(addresses, key=key))
