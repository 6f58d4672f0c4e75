"""RoutingRuleStatus: an observed rule that selects a routing table for packets; RoutingRuleSpec: a desired one."""

import attrs

from nodespan.resources.network.enums import Family, RoutingTable, RuleAction
from nodespan.resources.network.layer import ConfigLayer
from nodespan.resources.network.namespace import NAMESPACE
from nodespan.runtime.resource import ResourceType, wire

_OPTIONAL = wire(omit_empty=True)


@attrs.frozen(kw_only=True)
class RoutingRuleStatusSpec:
    """A rule. `src` and `dst` are prefixes, "" for any; a packet matches if its mark under `fw_mask` is `fw_mark`."""

    family: Family = Family.INET4
    src: str = ""
    dst: str = ""
    table: RoutingTable = RoutingTable.MAIN
    priority: int = 0
    action: RuleAction = RuleAction.UNICAST
    iif_name: str = attrs.field(default="", metadata=_OPTIONAL)
    oif_name: str = attrs.field(default="", metadata=_OPTIONAL)
    fw_mark: int = attrs.field(default=0, metadata=_OPTIONAL)
    fw_mask: int = attrs.field(default=0, metadata=_OPTIONAL)


@attrs.frozen(kw_only=True)
class RoutingRuleSpecSpec:
    """A desired rule. With `fw_mask` 0 the whole mark is compared."""

    family: Family = Family.INET4
    src: str = ""
    dst: str = ""
    table: RoutingTable = RoutingTable.MAIN
    priority: int = 0
    action: RuleAction = RuleAction.UNICAST
    iif_name: str = attrs.field(default="", metadata=_OPTIONAL)
    oif_name: str = attrs.field(default="", metadata=_OPTIONAL)
    fw_mark: int = attrs.field(default=0, metadata=_OPTIONAL)
    fw_mask: int = attrs.field(default=0, metadata=_OPTIONAL)
    layer: ConfigLayer = ConfigLayer.DEFAULT


def routing_rule_id(family: Family, priority: int) -> str:
    """`inet4/01000`."""
    return f"{family.value}/{priority:05}"


def routing_rule_status_id(family: Family, priority: int, place: int = 1) -> str:
    """`inet4/01000`; `inet4/01000/2` for the second rule of this priority."""
    id = routing_rule_id(family, priority)
    return id if place == 1 else f"{id}/{place}"


RoutingRuleStatus = ResourceType(
    "RoutingRuleStatuses.net.talos.dev",
    RoutingRuleStatusSpec,
    singular="RoutingRuleStatus",
    namespace=NAMESPACE,
    aliases=("routingrule", "routingrules"),
    columns={"Src": ".src", "Dst": ".dst", "Table": ".table", "Priority": ".priority"},
)
RoutingRuleSpec = ResourceType("RoutingRuleSpecs.net.talos.dev", RoutingRuleSpecSpec, namespace=NAMESPACE)
