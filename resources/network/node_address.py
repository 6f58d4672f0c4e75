"""The addresses of the node: the first hardware address, the IP addresses, their filters and order."""

import enum

import attrs

from nodespan.resources.network.namespace import NAMESPACE
from nodespan.runtime.resource import ResourceType

# The lists of addresses by content.
CURRENT_ADDRESSES_ID = "current"
ROUTED_ADDRESSES_ID = "routed"
ACCUMULATIVE_ADDRESSES_ID = "accumulative"
DEFAULT_ADDRESS_ID = "default"
# The link of addresses that the node has elsewhere: those that a cloud translates to its own.
EXTERNAL_LINK = "external"
# The filters by which pods and services are told from the node itself, and the lists of the latter.
NO_K8S_ID = "no-k8s"
ONLY_K8S_ID = "only-k8s"
CURRENT_NO_K8S_ID = f"{CURRENT_ADDRESSES_ID}-{NO_K8S_ID}"
ROUTED_NO_K8S_ID = f"{ROUTED_ADDRESSES_ID}-{NO_K8S_ID}"
SORT_ALGORITHM_ID = "default"
FIRST_HARDWARE_ADDRESS_ID = "first"


class AddressSortAlgorithm(enum.StrEnum):
    """The order of address lists. v1: by number. v2: IPv4 first, more specific prefixes first."""

    V1 = "v1"
    V2 = "v2"


@attrs.frozen(kw_only=True)
class HardwareAddrSpec:
    """A link and its hardware address."""

    name: str = ""
    """The name of the link."""
    hardware_addr: str = ""
    """Its hardware address."""


@attrs.frozen(kw_only=True)
class NodeAddressSpec:
    """A list of addresses of the node."""

    addresses: tuple[str, ...] = ()
    """The addresses with their prefix lengths, in the order of the algorithm."""
    sort_algorithm: AddressSortAlgorithm = AddressSortAlgorithm.V1
    """The algorithm."""


@attrs.frozen(kw_only=True)
class NodeAddressFilterSpec:
    """A filter of addresses."""

    include_subnets: tuple[str, ...] = ()
    """The subnets whose addresses are kept; an empty list keeps all."""
    exclude_subnets: tuple[str, ...] = ()
    """Subnets whose addresses are left out."""


@attrs.frozen(kw_only=True)
class NodeAddressSortAlgorithmSpec:
    """The order of address lists."""

    algorithm: AddressSortAlgorithm = AddressSortAlgorithm.V1
    """The algorithm in effect."""


HardwareAddr = ResourceType(
    "HardwareAddresses.net.talos.dev", HardwareAddrSpec, singular="HardwareAddress", namespace=NAMESPACE
)
NodeAddress = ResourceType(
    "NodeAddresses.net.talos.dev",
    NodeAddressSpec,
    singular="NodeAddress",
    namespace=NAMESPACE,
    columns={"Addresses": ".addresses", "SortAlgorithm": ".sortAlgorithm"},
)
NodeAddressFilter = ResourceType(
    "NodeAddressFilters.net.talos.dev",
    NodeAddressFilterSpec,
    namespace=NAMESPACE,
    columns={"Include Subnets": ".includeSubnets", "Exclude Subnets": ".excludeSubnets"},
)
NodeAddressSortAlgorithm = ResourceType(
    "NodeAddressSortAlgorithms.net.talos.dev",
    NodeAddressSortAlgorithmSpec,
    namespace=NAMESPACE,
    columns={"Algorithm": ".algorithm"},
)
