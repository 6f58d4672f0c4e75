"""Controllers of the network family, and the pure rules they follow."""

from controllers.network.address_status import AddressStatusController
from controllers.network.hardware_addr import HardwareAddrController
from controllers.network.hostname_status import HostnameStatusController
from controllers.network.link_status import LinkStatusController
from controllers.network.node_address import NodeAddressController
from controllers.network.node_address_sort_algorithm import NodeAddressSortAlgorithmController
from controllers.network.route_status import RouteStatusController
from controllers.network.routing_rule_status import RoutingRuleStatusController

# What the entry point of the family stands for.
controllers = (
    AddressStatusController,
    HardwareAddrController,
    HostnameStatusController,
    LinkStatusController,
    NodeAddressController,
    NodeAddressSortAlgorithmController,
    RouteStatusController,
    RoutingRuleStatusController,
)
