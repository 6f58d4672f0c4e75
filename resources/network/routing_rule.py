"""RoutingRuleStatus: an observed rule that selects a routing table for packets; RoutingRuleSpec: a desired one."""

import attrs

from nodespan.resources.network.enums import Family, RoutingTable, RuleAction
from nodespan.resources.network.layer import ConfigLayer
from nodespan.resources.network.namespace import NAMESPACE
from nodespan.runtime.resource import ResourceType, wire

_OPTIONAL = wire(omit_empty=True)


@attrs.frozen(kw_only=True)
class RoutingRuleStatusSpec:
    """An observed rule."""

    family: Family = Family.INET4
    """The family of packets."""
    src: str = ""
    """The source network, "" for any."""
    dst: str = ""
    """The destination network, "" for any."""
    table: RoutingTable = RoutingTable.MAIN
    """The routing table to look up."""
    priority: int = 0
    """The priority; lower ones are looked at first."""
    action: RuleAction = RuleAction.UNICAST
    """What the rule does with a packet."""
    iif_name: str = attrs.field(default="", metadata=_OPTIONAL)
    """The link that a packet comes in by, "" for any."""
    oif_name: str = attrs.field(default="", metadata=_OPTIONAL)
    """The link that a packet of this node goes out by, "" for any."""
    fw_mark: int = attrs.field(default=0, metadata=_OPTIONAL)
    """The mark that a packet has under `fwMask`."""
    fw_mask: int = attrs.field(default=0, metadata=_OPTIONAL)
    """The bits of the mark that are compared."""


@attrs.frozen(kw_only=True)
class RoutingRuleSpecSpec:
    """A desired rule."""

    family: Family = Family.INET4
    """The family of packets."""
    src: str = ""
    """The source network, "" for any."""
    dst: str = ""
    """The destination network, "" for any."""
    table: RoutingTable = RoutingTable.MAIN
    """The routing table to look up."""
    priority: int = 0
    """The priority; lower ones are looked at first."""
    action: RuleAction = RuleAction.UNICAST
    """What the rule does with a packet."""
    iif_name: str = attrs.field(default="", metadata=_OPTIONAL)
    """The link that a packet comes in by, "" for any."""
    oif_name: str = attrs.field(default="", metadata=_OPTIONAL)
    """The link that a packet of this node goes out by, "" for any."""
    fw_mark: int = attrs.field(default=0, metadata=_OPTIONAL)
    """The mark that a packet has under `fwMask`."""
    fw_mask: int = attrs.field(default=0, metadata=_OPTIONAL)
    """The bits of the mark that are compared; 0 compares the whole mark."""
    layer: ConfigLayer = ConfigLayer.DEFAULT
    """The layer that it comes from."""


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
