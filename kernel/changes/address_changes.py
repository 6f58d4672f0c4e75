"""Adding and removing addresses over rtnetlink, permanently or up to a deadline."""

import errno
import struct
from collections.abc import Callable

import attrs

from nodespan.kernel import rtnl
from nodespan.kernel.addresses import FENCED_BY_NODESPAN
from nodespan.kernel.prefixes import parse_address
from nodespan.kernel.refusals import address_refusal, explained, name_and_mtu
from nodespan.kernel.rtnetlink import Request, RtnlSocket, attribute, number8, number32
from nodespan.kernel.rtnl import NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE
from nodespan.resources.network.address import MANAGED_ADDRESS_FLAGS, AddressSpecSpec, AddressStatusSpec
from nodespan.resources.network.enums import AddressFlags

_ADDRESS = 1
_LOCAL = 2
_BROADCAST = 4
_CACHE_INFO = 6
_FLAGS = 8
_PRIORITY = 9
_PROTOCOL = 11
_BYTE = 0xFF
_LIFETIMES = struct.Struct("=IIII")  # preferred and valid, in seconds; when it was made and changed, for reading only


@attrs.frozen(kw_only=True)
class AddressToAdd:
    """An address for the link of this index. `renews`: it exists, and its lifetime is extended."""

    spec: AddressSpecSpec
    link_index: int
    renews: bool = False


def seconds_left(valid_until: float, now: float) -> int:
    """The lifetime of a fenced address in whole seconds, which is the kernel's unit."""
    return int(valid_until - now) if valid_until > now else 0


def address_request(address: AddressToAdd, seconds: int = 0) -> Request:
    """The request that adds the address, or that adds or extends it for so many seconds."""
    spec = address.spec
    prefix = parse_address(spec.address)
    flags = spec.flags & MANAGED_ADDRESS_FLAGS
    how = NLM_F_CREATE | NLM_F_EXCL
    attributes = [attribute(_LOCAL, prefix.packed), attribute(_ADDRESS, prefix.packed)]
    if seconds:
        flags &= ~AddressFlags.PERMANENT
        how = NLM_F_CREATE | NLM_F_REPLACE
        attributes += [
            attribute(_CACHE_INFO, _LIFETIMES.pack(seconds, seconds, 0, 0)),
            number8(_PROTOCOL, FENCED_BY_NODESPAN),
        ]
    attributes.append(number32(_FLAGS, flags))
    if len(prefix.packed) == 4 and prefix.length <= 30:
        broadcast = int.from_bytes(prefix.packed) | (1 << (32 - prefix.length)) - 1
        attributes.append(attribute(_BROADCAST, broadcast.to_bytes(4)))
    if spec.priority:
        attributes.append(number32(_PRIORITY, spec.priority))
    fields = (spec.family.number, prefix.length, flags & _BYTE, spec.scope.number, address.link_index)
    return Request(rtnl.RTM_NEWADDR, how, fields, tuple(attributes))


def add_address(kernel: RtnlSocket, address: AddressToAdd, clock: Callable[[], float]) -> None:
    """Add or extend the address. Raises OSError: EEXIST if it exists unfenced, ETIME after the deadline.

    This process may be stopped between reading the clock and the kernel's change. So the clock is read
    again, and an address that was added too late is removed at once.
    """
    spec = address.spec
    seconds = 0
    if spec.valid_until:
        seconds = seconds_left(spec.valid_until, clock())
        if not seconds:
            raise _too_late(spec)
    text = parse_address(spec.address).text
    with explained(lambda number: address_refusal(number, text, *name_and_mtu(kernel, address.link_index))):
        kernel.request(address_request(address, seconds))
    if spec.valid_until and clock() >= spec.valid_until:
        _delete(kernel, spec, address.link_index)
        raise _too_late(spec)


def delete_address(kernel: RtnlSocket, seen: AddressStatusSpec) -> None:
    """Remove the address. Raises OSError: EADDRNOTAVAIL if it does not exist."""
    prefix = parse_address(seen.address)
    local = parse_address(seen.local or seen.address.partition("/")[0])
    fields = (seen.family.number, prefix.length, 0, 0, seen.link_index)
    kernel.change(rtnl.RTM_DELADDR, 0, fields, attribute(_LOCAL, local.packed), attribute(_ADDRESS, prefix.packed))


def _delete(kernel: RtnlSocket, spec: AddressSpecSpec, link_index: int) -> None:
    delete_address(kernel, AddressStatusSpec(address=spec.address, family=spec.family, link_index=link_index))


def _too_late(spec: AddressSpecSpec) -> OSError:
    return OSError(errno.ETIME, f"the time to have {spec.address} was over before it was added")
