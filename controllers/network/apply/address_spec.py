"""network.AddressSpecController: gives links the desired addresses, and removes those no longer desired."""

import functools
from collections.abc import Callable

from nodespan.controllers.common.prior_state import PriorState
from nodespan.controllers.network.apply.address_plan import (
    AddressPlan,
    Fence,
    is_as_desired,
    loss,
    plan_addresses,
    taken_address,
)
from nodespan.controllers.network.apply.applier import Applier
from nodespan.controllers.network.apply.kernel_access import KernelAccess, NetworkNamespace
from nodespan.controllers.network.apply.objects import Changes, Done, ObjectDriver, ObjectPlan, Problem
from nodespan.controllers.network.apply.plan import Step
from nodespan.controllers.network.apply.prior_objects import PriorObjects, SlotRules
from nodespan.kernel.addresses import Addresses, AddressKey, key_of, read_address
from nodespan.kernel.changes.address_changes import AddressToAdd, add_address, address_request, delete_address
from nodespan.kernel.links import read_link
from nodespan.kernel.prefixes import parse_address
from nodespan.kernel.rtnetlink import Request, RtnlSocket
from nodespan.resources.network import AddressSpec, AddressSpecSpec, AddressStatusSpec
from nodespan.runtime.controller import Specs
from nodespan.runtime.process.boot_time import boot_time

_Seen = tuple[AddressStatusSpec, ...]
_Step = Step[AddressToAdd, AddressStatusSpec]
_Done = tuple[Done[AddressToAdd, AddressStatusSpec], ...]


SLOTS = SlotRules(
    taken=taken_address,
    list=Addresses().dump,
    read=read_address,
    is_as_desired=is_as_desired,
    loss=loss,
)


class AddressSpecController(Applier[AddressSpecSpec, _Step, _Done]):
    """Waits for links that do not exist yet. Addresses that no spec names are never touched."""

    name = "network.AddressSpecController"

    def __init__(
        self,
        *,
        netns: str | None = None,
        kernel: KernelAccess | None = None,
        clock: Callable[[], float] = boot_time,
        prior: PriorState | None = None,
    ) -> None:
        access = kernel or NetworkNamespace(netns)
        specs = Specs(AddressSpec)
        # The kernel reports remaining lifetimes in whole seconds, which is too coarse to compare with.
        given_until: dict[AddressKey, float] = {}
        driver = ObjectDriver(
            access,
            Addresses(),
            Changes(add=functools.partial(_add, access.netns, clock), remove=delete_address, request=_request),
            PriorObjects(prior or PriorState(None), SLOTS),
            functools.partial(_note, given_until),
        )

        def plan(problem: Problem[AddressSpecSpec, AddressKey, _Seen]) -> AddressPlan:
            fence = Fence(now=clock(), given_until=given_until)
            return plan_addresses(problem.desired, problem.leaving, problem.links, problem.items, fence)

        super().__init__(specs, ObjectPlan(specs, driver, plan), driver)


def _request(address: AddressToAdd) -> Request | None:
    """The request for an address that is neither fenced nor announced."""
    return None if address.spec.valid_until or address.spec.announce_with_arp else address_request(address)


def _add(netns: str | None, clock: Callable[[], float], kernel: RtnlSocket, address: AddressToAdd) -> None:
    """In a worker thread: add or prolong one address, and announce it if that is desired. Raises OSError."""
    add_address(kernel, address, clock)
    spec = address.spec
    if not spec.announce_with_arp or address.renews:
        return
    message = kernel.link(address.link_index)
    if message is not None and (not spec.valid_until or clock() < spec.valid_until):
        link = read_link(message)
        # Few addresses are announced: those of a virtual IP.
        from nodespan.kernel.packets.announcement import announce

        announce(spec.address, link.name, link.status.hardware_addr, netns)


def _note(given_until: dict[AddressKey, float], done: _Done) -> None:
    """Remember up to when the kernel was given fenced addresses."""
    for each in done:
        if each.removed is not None:
            given_until.pop(key_of(each.removed), None)
        if each.added is not None and each.added.spec.valid_until:
            key = AddressKey(each.added.link_index, parse_address(each.added.spec.address).text)
            given_until[key] = each.added.spec.valid_until
