"""Adding and removing addresses over rtnetlink."""

from ipaddress import IPv4Interface

import attrs
from pyroute2.netlink import NLM_F_CREATE, NLM_F_EXCL, rtnl

from controllers.network.kernel.prefixes import parse_address
from controllers.network.kernel.rtnetlink import Kernel, attribute, number32
from resources.network.address import MANAGED_ADDRESS_FLAGS, AddressSpecSpec, AddressStatusSpec

_ADDRESS = 1
_LOCAL = 2
_BROADCAST = 4
_FLAGS = 8
_PRIORITY = 9
_BYTE = 0xFF


@attrs.frozen(kw_only=True)
class AddressToAdd:
    """An address for the link of this index."""

    spec: AddressSpecSpec
    link_index: int


def add_address(kernel: Kernel, wanted: AddressToAdd) -> None:
    """Add the address. Raises OSError: EEXIST if it is there."""
    spec = wanted.spec
    prefix = parse_address(spec.address)
    flags = spec.flags & MANAGED_ADDRESS_FLAGS
    attributes = [attribute(_LOCAL, prefix.packed), attribute(_ADDRESS, prefix.packed), number32(_FLAGS, flags)]
    if len(prefix.packed) == 4 and prefix.length <= 30:
        broadcast = IPv4Interface((prefix.packed, prefix.length)).network.broadcast_address
        attributes.append(attribute(_BROADCAST, broadcast.packed))
    if spec.priority:
        attributes.append(number32(_PRIORITY, spec.priority))
    fields = (spec.family.number, prefix.length, flags & _BYTE, spec.scope.number, wanted.link_index)
    kernel.change(rtnl.RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, fields, *attributes)


def delete_address(kernel: Kernel, seen: AddressStatusSpec) -> None:
    """Remove the address. Raises OSError: EADDRNOTAVAIL if it is not there."""
    prefix = parse_address(seen.address)
    local = parse_address(seen.local or seen.address.partition("/")[0])
    fields = (seen.family.number, prefix.length, 0, 0, seen.link_index)
    kernel.change(rtnl.RTM_DELADDR, 0, fields, attribute(_LOCAL, local.packed), attribute(_ADDRESS, prefix.packed))
