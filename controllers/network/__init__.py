"""Controllers of the network family, and the pure rules they follow."""

from controllers.network.address_spec import AddressSpecController
from controllers.network.address_status import AddressStatusController
from controllers.network.hardware_addr import HardwareAddrController
from controllers.network.hostname_status import HostnameStatusController
from controllers.network.link_spec import LinkSpecController
from controllers.network.link_status import LinkStatusController
from controllers.network.merge import (
    AddressMergeController,
    LinkMergeController,
    RouteMergeController,
    RoutingRuleMergeController,
)
from controllers.network.nftables_chain import NfTablesChainController
from controllers.network.node_address import NodeAddressController
from controllers.network.node_address_sort_algorithm import NodeAddressSortAlgorithmController
from controllers.network.route_spec import RouteSpecController
from controllers.network.route_status import RouteStatusController
from controllers.network.routing_rule_spec import RoutingRuleSpecController
from controllers.network.routing_rule_status import RoutingRuleStatusController
from controllers.network.vip_condition import VIPConditionController
from controllers.network.wireguard_peer import WireguardPeerController

# What the entry point of the family stands for.
controllers = (
    AddressMergeController,
    AddressSpecController,
    AddressStatusController,
    HardwareAddrController,
    HostnameStatusController,
    LinkMergeController,
    LinkSpecController,
    LinkStatusController,
    NfTablesChainController,
    NodeAddressController,
    NodeAddressSortAlgorithmController,
    RouteMergeController,
    RouteSpecController,
    RouteStatusController,
    RoutingRuleMergeController,
    RoutingRuleSpecController,
    RoutingRuleStatusController,
    VIPConditionController,
    WireguardPeerController,
)
