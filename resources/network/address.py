"""AddressStatus: an address on a link, as the kernel has it; AddressSpec: as it is wanted. Id: `<link>/<address>`."""

import attrs

from nodespan.resources.network.enums import AddressFlags, Family, Scope
from nodespan.resources.network.layer import ConfigLayer
from nodespan.resources.network.namespace import NAMESPACE
from nodespan.runtime.resource import ResourceType, wire

_OPTIONAL = wire(omit_empty=True)


@attrs.frozen(kw_only=True)
class AddressStatusSpec:
    """An address with its prefix length.

    On a point-to-point link `address` is the far end and `local` is this node's own; elsewhere they name the same
    address, and `local` may be empty (IPv6). `priority` is the metric of the routes that come with the address.
    `fenced`: an agent gave it to the link for as long as it was elected to hold it.
    """

    address: str
    local: str = attrs.field(default="", metadata=_OPTIONAL)
    broadcast: str = attrs.field(default="", metadata=_OPTIONAL)
    anycast: str = attrs.field(default="", metadata=_OPTIONAL)
    multicast: str = attrs.field(default="", metadata=_OPTIONAL)
    link_index: int = 0
    link_name: str = ""
    family: Family = Family.INET4
    scope: Scope = Scope.GLOBAL
    flags: AddressFlags = attrs.field(default=AddressFlags(0))
    priority: int = 0
    fenced: bool = attrs.field(default=False, metadata=_OPTIONAL)


@attrs.frozen(kw_only=True)
class AddressSpecSpec:
    """An address that a link is to have.

    Only those flags count that are the business of whoever adds an address (`MANAGED_ADDRESS_FLAGS`). `priority` is the
    metric of the routes that come with it, 0 the kernel's choice. `announce_with_arp`: tell the neighbours once it is
    there, who may know it from another node (IPv6: by neighbour advertisement).

    `valid_until`, if it is not 0, fences the address: it is not to be on the link after that moment, in seconds on
    CLOCK_BOOTTIME, whatever becomes of the agent. So the kernel is given the address for whole seconds up to then and
    removes it by itself, unless a later moment is written in time. Such an address is never permanent.
    """

    address: str
    link_name: str
    family: Family = Family.INET4
    scope: Scope = Scope.GLOBAL
    flags: AddressFlags = AddressFlags.PERMANENT
    announce_with_arp: bool = attrs.field(default=False, metadata=wire("announceWithARP", omit_empty=True))
    priority: int = attrs.field(default=0, metadata=_OPTIONAL)
    valid_until: float = attrs.field(default=0.0, metadata=_OPTIONAL)
    layer: ConfigLayer = ConfigLayer.DEFAULT


# The others are the kernel's own notes.
MANAGED_ADDRESS_FLAGS = (
    AddressFlags.PERMANENT
    | AddressFlags.NODAD
    | AddressFlags.HOMEADDRESS
    | AddressFlags.MNGMTMPADDR
    | AddressFlags.NOPREFIXROUTE
    | AddressFlags.MCAUTOJOIN
)


def address_id(link_name: str, address: str) -> str:
    """`eth0/10.0.0.5/24`."""
    return f"{link_name}/{address}"


AddressStatus = ResourceType(
    "AddressStatuses.net.talos.dev",
    AddressStatusSpec,
    singular="AddressStatus",
    namespace=NAMESPACE,
    aliases=("address", "addresses"),
    columns={"Address": ".address", "Link": ".linkName"},
)
AddressSpec = ResourceType("AddressSpecs.net.talos.dev", AddressSpecSpec, namespace=NAMESPACE)
