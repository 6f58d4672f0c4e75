"""Controllers of the network family, and the pure rules they follow."""

from controllers.network.address_spec import AddressSpecController
from controllers.network.address_status import AddressStatusController
from controllers.network.config.address_config import AddressConfigController
from controllers.network.config.device_config import DeviceConfigController
from controllers.network.config.link_alias_config import LinkAliasConfigController
from controllers.network.config.link_alias_spec import LinkAliasSpecController
from controllers.network.config.link_config import LinkConfigController
from controllers.network.config.link_managers import LinkManagersController
from controllers.network.config.operator_config import OperatorConfigController
from controllers.network.config.operator_vip_config import OperatorVIPConfigController
from controllers.network.config.route_config import RouteConfigController
from controllers.network.config.routing_rule_config import RoutingRuleConfigController
from controllers.network.hardware_addr import HardwareAddrController
from controllers.network.hostname_status import HostnameStatusController
from controllers.network.link_name import LinkNameController
from controllers.network.link_rename import LinkRenameController
from controllers.network.link_spec import LinkSpecController
from controllers.network.link_status import LinkStatusController
from controllers.network.merge import (
    AddressMergeController,
    HostnameMergeController,
    LinkMergeController,
    OperatorMergeController,
    ResolverMergeController,
    RouteMergeController,
    RoutingRuleMergeController,
    TimeServerMergeController,
)
from controllers.network.network_status import NetworkStatusController
from controllers.network.nftables_chain import NfTablesChainController
from controllers.network.node_address import NodeAddressController
from controllers.network.node_address_sort_algorithm import NodeAddressSortAlgorithmController
from controllers.network.operators.registration import operator_spec_controller
from controllers.network.route_spec import RouteSpecController
from controllers.network.route_status import RouteStatusController
from controllers.network.routing_rule_spec import RoutingRuleSpecController
from controllers.network.routing_rule_status import RoutingRuleStatusController
from controllers.network.vip_condition import VIPConditionController
from controllers.network.wireguard_peer import WireguardPeerController
from runtime.plugins import Settings


def _link_spec_controller(settings: Settings) -> LinkSpecController:
    return LinkSpecController(record=settings.state_dir / "links.json")


# What the entry point of the family stands for.
controllers = (
    AddressConfigController,
    AddressMergeController,
    AddressSpecController,
    AddressStatusController,
    DeviceConfigController,
    HardwareAddrController,
    HostnameMergeController,
    HostnameStatusController,
    LinkAliasConfigController,
    LinkAliasSpecController,
    LinkConfigController,
    LinkManagersController,
    LinkMergeController,
    LinkNameController,
    LinkRenameController,
    _link_spec_controller,
    LinkStatusController,
    NetworkStatusController,
    NfTablesChainController,
    NodeAddressController,
    NodeAddressSortAlgorithmController,
    OperatorConfigController,
    OperatorMergeController,
    OperatorVIPConfigController,
    ResolverMergeController,
    RouteConfigController,
    RouteMergeController,
    RouteSpecController,
    RouteStatusController,
    RoutingRuleConfigController,
    RoutingRuleMergeController,
    RoutingRuleSpecController,
    RoutingRuleStatusController,
    TimeServerMergeController,
    VIPConditionController,
    WireguardPeerController,
    operator_spec_controller,
)
