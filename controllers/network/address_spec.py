"""network.AddressSpecController: gives links the addresses that are wanted, and takes away those no longer wanted."""

from collections.abc import Mapping

from controllers.network.address_plan import AddressPlan, plan_addresses
from controllers.network.applier import Applier
from controllers.network.kernel.address_changes import AddressToAdd, add_address, delete_address
from controllers.network.kernel.addresses import Addresses, AddressKey
from controllers.network.kernel.arp import announce
from controllers.network.kernel.links import KernelLink
from controllers.network.kernel.rtnetlink import Kernel
from resources.network import AddressSpec, AddressSpecSpec, AddressStatusSpec

_Seen = tuple[AddressStatusSpec, ...]


class AddressSpecController(Applier[AddressSpecSpec, AddressKey, _Seen, AddressToAdd, AddressStatusSpec]):
    """Waits for links that do not exist yet. Addresses that no spec names are never touched."""

    name = "network.AddressSpecController"
    type = AddressSpec

    def kind(self) -> Addresses:
        """Addresses by link and prefix."""
        return Addresses()

    def plan(
        self,
        wanted: Mapping[str, AddressSpecSpec],
        leaving: Mapping[str, AddressSpecSpec],
        before: Mapping[str, AddressSpecSpec],  # noqa: ARG002
        links: Mapping[int, KernelLink],
        items: Mapping[AddressKey, _Seen],
    ) -> AddressPlan:
        """See `plan_addresses`."""
        return plan_addresses(wanted, leaving, links, items)

    def add(self, kernel: Kernel, wanted: AddressToAdd) -> None:
        """Add one address; blocks. Raises OSError."""
        add_address(kernel, wanted)

    def remove(self, kernel: Kernel, seen: AddressStatusSpec) -> None:
        """Remove one address; blocks. Raises OSError."""
        delete_address(kernel, seen)

    def after_add(self, wanted: AddressToAdd, links: Mapping[int, KernelLink]) -> None:
        """Tell the neighbours, if that is wanted."""
        link = links.get(wanted.link_index)
        if wanted.spec.announce_with_arp and link is not None:
            announce(wanted.spec.address, link.name, link.status.hardware_addr, self._netns)
