"""AddressStatus: an observed address on a link; AddressSpec: a desired one. Id: `<link>/<address>`."""

import attrs

from nodespan.resources.network.enums import AddressFlags, Family, Scope
from nodespan.resources.network.layer import ConfigLayer
from nodespan.resources.network.namespace import NAMESPACE
from nodespan.runtime.resource import ResourceType, wire

_OPTIONAL = wire(omit_empty=True)


@attrs.frozen(kw_only=True)
class AddressStatusSpec:
    """An observed address."""

    address: str
    """The address with its prefix length; on a point-to-point link that of the far end."""
    local: str = attrs.field(default="", metadata=_OPTIONAL)
    """This node's own address on a point-to-point link; elsewhere the same as `address`, or empty (IPv6)."""
    broadcast: str = attrs.field(default="", metadata=_OPTIONAL)
    """The broadcast address."""
    anycast: str = attrs.field(default="", metadata=_OPTIONAL)
    """The anycast address."""
    multicast: str = attrs.field(default="", metadata=_OPTIONAL)
    """The multicast address."""
    link_index: int = 0
    """The index of the link."""
    link_name: str = ""
    """The name of the link."""
    family: Family = Family.INET4
    """The family of the address."""
    scope: Scope = Scope.GLOBAL
    """How far the address is valid."""
    flags: AddressFlags = attrs.field(default=AddressFlags(0))
    """The flags of the kernel."""
    priority: int = 0
    """The metric of the routes that come with the address."""
    fenced: bool = attrs.field(default=False, metadata=_OPTIONAL)
    """Whether an agent has set the address for as long as it is elected to hold it."""


@attrs.frozen(kw_only=True)
class AddressSpecSpec:
    """A desired address of a link."""

    address: str
    """The address with its prefix length."""
    link_name: str
    """The name of the link."""
    family: Family = Family.INET4
    """The family of the address."""
    scope: Scope = Scope.GLOBAL
    """How far the address is valid."""
    flags: AddressFlags = AddressFlags.PERMANENT
    """The flags of the kernel. Only those count that are set when an address is added (`MANAGED_ADDRESS_FLAGS`)."""
    announce_with_arp: bool = attrs.field(default=False, metadata=wire("announceWithARP", omit_empty=True))
    """Whether neighbours are notified, which may have cached another node's MAC address (IPv6: by neighbour
    advertisement).
    """
    priority: int = attrs.field(default=0, metadata=_OPTIONAL)
    """The metric of the routes that come with the address; 0 for the kernel's choice."""
    valid_until: float = attrs.field(default=0.0, metadata=_OPTIONAL)
    """Fences the address unless it is 0: it must not be on the link after that time, in seconds on CLOCK_BOOTTIME, even
    if the agent dies. It gets a lifetime of whole seconds up to then, and the kernel removes it unless a later time is
    written before. Such an address is never permanent.
    """
    layer: ConfigLayer = ConfigLayer.DEFAULT
    """The layer that it comes from."""


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
