"""The hardware address of a bond or bridge that is not configured with one: that of its first member, permanently.

Left to the kernel it would be a random one after each start, or, for a bridge, follow its members as they come and go.
"""

from collections.abc import Iterable

from nodespan.kernel.link_lookup import LinkLookup
from nodespan.kernel.links import KernelLink
from nodespan.resources.network import LinkSpecSpec

KINDS = frozenset({"bond", "bridge"})
_LENGTH = len("00:00:00:00:00:00")
_NONE = "00:00:00:00:00:00"


def first_member_address(members: Iterable[LinkSpecSpec], lookup: LinkLookup) -> str:
    """The address of the first of these members whose address is known; "" if there is none.

    The one that it is configured with, whether or not it is there yet; else its permanent one, for another may have
    been lent to it by a master.
    """
    for spec in sorted(members, key=lambda spec: (spec.slave_index, spec.name)):
        if spec.hardware_addr:
            return spec.hardware_addr.lower()
        link = lookup.real(spec.name) if spec.logical else lookup.find(spec.name)
        if link is not None and (address := _own_address(link)):
            return address
    return ""


def _own_address(link: KernelLink) -> str:
    status = link.status
    lent = status.slave_kind == "bond"
    address = status.permanent_addr or ("" if lent else status.hardware_addr)
    return address if len(address) == _LENGTH and address != _NONE else ""
