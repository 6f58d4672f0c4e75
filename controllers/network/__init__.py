"""Controllers of the network family, and the pure rules they follow."""

from nodespan.controllers.common.prior_state import FILE_NAME, PriorState
from nodespan.controllers.network.apply.address_spec import AddressSpecController
from nodespan.controllers.network.apply.ethernet_spec import EthernetSpecController
from nodespan.controllers.network.apply.link_alias_spec import LinkAliasSpecController
from nodespan.controllers.network.apply.link_spec import LinkSpecController
from nodespan.controllers.network.apply.route_spec import RouteSpecController
from nodespan.controllers.network.apply.routing_rule_spec import RoutingRuleSpecController
from nodespan.controllers.network.config.address_config import AddressConfigController
from nodespan.controllers.network.config.device_config import DeviceConfigController
from nodespan.controllers.network.config.ethernet_config import EthernetConfigController
from nodespan.controllers.network.config.link_alias_config import LinkAliasConfigController
from nodespan.controllers.network.config.link_config import LinkConfigController
from nodespan.controllers.network.config.nftables_chain_config import NfTablesChainConfigController
from nodespan.controllers.network.config.operator_config import OperatorConfigController
from nodespan.controllers.network.config.route_config import RouteConfigController
from nodespan.controllers.network.config.routing_rule_config import RoutingRuleConfigController
from nodespan.controllers.network.managers.link_managers import LinkManagersController
from nodespan.controllers.network.merge.controllers import (
    AddressMergeController,
    HostnameMergeController,
    LinkMergeController,
    OperatorMergeController,
    ProbeMergeController,
    ResolverMergeController,
    RouteMergeController,
    RoutingRuleMergeController,
    TimeServerMergeController,
)
from nodespan.controllers.network.naming.link_name import LinkNameController
from nodespan.controllers.network.naming.link_rename import LinkRenameController
from nodespan.controllers.network.nftables.chain import NfTablesChainController
from nodespan.controllers.network.probes.probe import ProbeConfigController, ProbeController
from nodespan.controllers.network.registration import operator_spec_controller
from nodespan.controllers.network.status import metrics as network_metrics
from nodespan.controllers.network.status.address_filter import AddressFilterController
from nodespan.controllers.network.status.address_status import AddressStatusController
from nodespan.controllers.network.status.ethernet_status import EthernetStatusController
from nodespan.controllers.network.status.hardware_addr import HardwareAddrController
from nodespan.controllers.network.status.hostname_status import HostnameStatusController
from nodespan.controllers.network.status.link_status import LinkStatusController
from nodespan.controllers.network.status.network_status import NetworkStatusController
from nodespan.controllers.network.status.node_address import NodeAddressController
from nodespan.controllers.network.status.node_address_sort_algorithm import NodeAddressSortAlgorithmController
from nodespan.controllers.network.status.route_status import RouteStatusController
from nodespan.controllers.network.status.routing_rule_status import RoutingRuleStatusController
from nodespan.controllers.network.vip import metrics as vip_metrics
from nodespan.controllers.network.vip.conditions.controller import VIPConditionController
from nodespan.controllers.network.vip.operator_vip_config import OperatorVIPConfigController
from nodespan.controllers.network.wireguard.peers import WireguardPeerController
from nodespan.runtime.plugins import AnyController, Settings


def _appliers(settings: Settings) -> list[AnyController]:
    """What changes the kernel shares one record of what was there before. The family's metrics come with them."""
    settings.publish(network_metrics.METRICS, network_metrics.missing)
    settings.publish(vip_metrics.METRICS)
    prior = PriorState(settings.state_dir / FILE_NAME)
    chains = NfTablesChainController(prior=prior, leaving=settings.leaving)
    settings.left_behind.extend((prior.left_behind, chains.left_behind))
    return [
        AddressSpecController(prior=prior),
        EthernetSpecController(prior=prior),
        LinkAliasSpecController(prior=prior),
        LinkSpecController(record=settings.state_dir / "links.json", prior=prior),
        RouteSpecController(prior=prior),
        RoutingRuleSpecController(prior=prior),
        chains,
        WireguardPeerController(prior=prior),
    ]


# What the entry point of the family stands for.
controllers = (
    _appliers,
    AddressConfigController,
    AddressFilterController,
    AddressMergeController,
    AddressStatusController,
    DeviceConfigController,
    EthernetConfigController,
    EthernetStatusController,
    HardwareAddrController,
    HostnameMergeController,
    HostnameStatusController,
    LinkAliasConfigController,
    LinkConfigController,
    LinkManagersController,
    LinkMergeController,
    LinkNameController,
    LinkRenameController,
    LinkStatusController,
    NetworkStatusController,
    NfTablesChainConfigController,
    NodeAddressController,
    NodeAddressSortAlgorithmController,
    OperatorConfigController,
    OperatorMergeController,
    OperatorVIPConfigController,
    ProbeConfigController,
    ProbeController,
    ProbeMergeController,
    ResolverMergeController,
    RouteConfigController,
    RouteMergeController,
    RouteStatusController,
    RoutingRuleConfigController,
    RoutingRuleMergeController,
    RoutingRuleStatusController,
    TimeServerMergeController,
    VIPConditionController,
    operator_spec_controller,
)
