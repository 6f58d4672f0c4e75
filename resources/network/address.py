"""AddressStatus: an observed address on a link; AddressSpec: a desired one. Id: `<link>/<address>`."""

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
    `fenced`: set by an agent, for as long as it is elected to hold it.
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
    """A desired address of a link.

    Only the flags that are set when an address is added count (`MANAGED_ADDRESS_FLAGS`). `priority` is the
    metric of the routes that come with it, 0 the kernel's choice. `announce_with_arp`: announce it to the neighbours,
    which may have cached another node's MAC address (IPv6: by neighbour advertisement).

    `valid_until`, if it is not 0, fences the address: it must not be on the link after that time, in seconds on
    CLOCK_BOOTTIME, even if the agent dies. So it gets a lifetime of whole seconds up to then, and the kernel
    removes it unless a later time is written before. Such an address is never permanent.
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


# The others are set by the kernel.
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
