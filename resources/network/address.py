"""AddressStatus: an IP address on a link, as the kernel has it. The id is `<link>/<address>`."""

import attrs

from resources.network.enums import AddressFlags, Family, Scope
from resources.network.namespace import NAMESPACE
from runtime.resource import ResourceType, wire

_OPTIONAL = wire(omit_empty=True)


@attrs.frozen(kw_only=True)
class AddressStatusSpec:
    """An address with its prefix length.

    On a point-to-point link `address` is the far end and `local` is this node's own; elsewhere they name the same
    address, and `local` may be empty (IPv6). `priority` is the metric of the routes that come with the address.
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


def address_id(link_name: str, address: str) -> str:
    """`eth0/10.0.0.5/24`."""
    return f"{link_name}/{address}"


AddressStatus = ResourceType(
    "AddressStatuses.net.talos.dev",
    AddressStatusSpec,
    namespace=NAMESPACE,
    aliases=("address", "addresses"),
    columns={"Address": ".address", "Link": ".linkName"},
)
