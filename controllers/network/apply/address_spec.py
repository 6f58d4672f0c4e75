"""network.AddressSpecController: gives links the addresses that are wanted, and takes away those no longer wanted."""

from collections.abc import Callable, Mapping

from nodespan.controllers.common.boot_clock import boot_time
from nodespan.controllers.network.apply.address_plan import AddressPlan, Fence, plan_addresses
from nodespan.controllers.network.apply.applier import Applier
from nodespan.kernel.address_changes import AddressToAdd, add_address, delete_address
from nodespan.kernel.addresses import Addresses, AddressKey, key_of
from nodespan.kernel.announcement import announce
from nodespan.kernel.links import KernelLink
from nodespan.kernel.prefixes import parse_address
from nodespan.kernel.rtnetlink import Kernel
from nodespan.resources.network import AddressSpec, AddressSpecSpec, AddressStatusSpec

_Seen = tuple[AddressStatusSpec, ...]


class AddressSpecController(Applier[AddressSpecSpec, AddressKey, _Seen, AddressToAdd, AddressStatusSpec]):
    """Waits for links that do not exist yet. Addresses that no spec names are never touched."""

    name = "network.AddressSpecController"
    type = AddressSpec

    def __init__(self, *, netns: str | None = None, clock: Callable[[], float] = boot_time) -> None:
        super().__init__(netns=netns)
        self._clock = clock
        # The kernel tells how long an address will stay in whole seconds, which is too coarse to compare with.
        self._given_until: dict[AddressKey, float] = {}

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
        return plan_addresses(wanted, leaving, links, items, Fence(now=self._clock(), given_until=self._given_until))

    def add(self, kernel: Kernel, wanted: AddressToAdd) -> None:
        """Add or prolong one address; blocks. Raises OSError."""
        add_address(kernel, wanted, self._clock)
        if wanted.spec.valid_until:
            key = AddressKey(wanted.link_index, parse_address(wanted.spec.address).text)
            self._given_until[key] = wanted.spec.valid_until

    def remove(self, kernel: Kernel, seen: AddressStatusSpec) -> None:
        """Remove one address; blocks. Raises OSError."""
        delete_address(kernel, seen)
        self._given_until.pop(key_of(seen), None)

    def after_add(self, wanted: AddressToAdd, links: Mapping[int, KernelLink]) -> None:
        """Tell the neighbours, if that is wanted."""
        link = links.get(wanted.link_index)
        spec = wanted.spec
        if not spec.announce_with_arp or wanted.renews or link is None:
            return
        if not spec.valid_until or self._clock() < spec.valid_until:
            announce(spec.address, link.name, link.status.hardware_addr, self._netns)
