"""IP addresses as rtnetlink describes them."""

from collections.abc import Iterable, Mapping
from typing import ClassVar

import attrs

from nodespan.kernel import rtnl
from nodespan.kernel.mirror import Effect, ObjectKind
from nodespan.kernel.rtnetlink import Message, RtnlSocket, all_of, integer, ip_address, open_rtnl_socket
from nodespan.resources.network.address import AddressStatusSpec
from nodespan.resources.network.enums import AddressFlags, Family, Scope

_ADDRESS = 1
_LOCAL = 2
_BROADCAST = 4
_ANYCAST = 5
_MULTICAST = 7
_FLAGS = 8
_PRIORITY = 9
_PROTOCOL = 11
# The originator of an address, as a number of ours. Kernels before 5.18 do not keep it.
FENCED_BY_NODESPAN = 110


@attrs.frozen(cache_hash=True)
class AddressKey:
    """The outside identity of an address: the link's index, and the address with its prefix length."""

    link_index: int
    address: str


def read_address(message: Message) -> AddressStatusSpec:
    """The address in an RTM_NEWADDR or RTM_DELADDR message, without the link's name."""
    family, length, flags, scope, index = message.fields
    attributes = all_of(message)

    def address_in(number: int) -> str:
        return ip_address(attributes.get(number, b""))

    local = address_in(_LOCAL)
    return AddressStatusSpec(
        address=f"{address_in(_ADDRESS) or local}/{length}",
        local=local,
        broadcast=address_in(_BROADCAST),
        anycast=address_in(_ANYCAST),
        multicast=address_in(_MULTICAST),
        link_index=index,
        family=Family.of(family),
        scope=Scope.of(scope),
        # The header holds the first eight flags only.
        flags=AddressFlags(integer(attributes, _FLAGS) or flags),
        priority=integer(attributes, _PRIORITY),
        fenced=integer(attributes, _PROTOCOL) == FENCED_BY_NODESPAN,
    )


def key_of(address: AddressStatusSpec) -> AddressKey:
    """The key of an address."""
    return AddressKey(address.link_index, address.address)


class Addresses(ObjectKind[AddressKey, tuple[AddressStatusSpec, ...]]):
    """Addresses by key: usually one; point-to-point addresses with the same far end may differ in the near end."""

    groups: ClassVar[int] = rtnl.RTMGRP_IPV4_IFADDR | rtnl.RTMGRP_IPV6_IFADDR

    def dump(self, kernel: RtnlSocket) -> Iterable[Message]:
        """All addresses of both families; blocks."""
        return kernel.dump(rtnl.RTM_GETADDR)

    def collect(self, messages: Iterable[Message]) -> dict[AddressKey, tuple[AddressStatusSpec, ...]]:
        """The addresses by key."""
        items: dict[AddressKey, tuple[AddressStatusSpec, ...]] = {}
        for message in messages:
            address = read_address(message)
            key = key_of(address)
            items[key] = (*items.get(key, ()), address)
        return items

    def fold(
        self, items: Mapping[AddressKey, tuple[AddressStatusSpec, ...]], message: Message
    ) -> Effect[AddressKey, tuple[AddressStatusSpec, ...]]:
        """A message replaces or removes the address it names."""
        address = read_address(message)
        key = key_of(address)
        rest = tuple(other for other in items.get(key, ()) if other.local != address.local)
        if message.type == rtnl.RTM_NEWADDR:
            return Effect(changes={key: (*rest, address)})
        return Effect(changes={key: rest or None})


def list_addresses(netns: str | None) -> tuple[AddressStatusSpec, ...]:
    """The kernel's current addresses; blocks. Raises OSError."""
    with open_rtnl_socket(netns) as kernel:
        return tuple(read_address(message) for message in kernel.dump(rtnl.RTM_GETADDR))
