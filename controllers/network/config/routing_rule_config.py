"""network.RoutingRuleConfigController: the routing rules that the configuration requests."""

import ipaddress
from collections.abc import Sequence

from nodespan.controllers.network.config.derived_outputs import DerivedOutputs, Requested, last
from nodespan.controllers.network.config.parts import document_parts, machine_config
from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig
from nodespan.resources.config.network import RoutingRuleConfig
from nodespan.resources.network import (
    CONFIG_NAMESPACE,
    ConfigLayer,
    Family,
    NetworkProblem,
    RoutingRuleSpec,
    RoutingRuleSpecSpec,
    RoutingTable,
    RuleAction,
    layered_id,
    routing_rule_id,
)
from nodespan.runtime.controller import Controller, ControllerContext, shared, weak

_LAYER = ConfigLayer.CONFIGURATION


def requested_rules(rule: object) -> Requested[RoutingRuleSpecSpec]:
    """The rule of a document: one per family if neither source nor destination tells the family."""
    if not isinstance(rule, RoutingRuleConfig):
        return Requested()
    try:
        specs = rule_specs(rule)
    except ValueError as error:
        return Requested(problems=((layered_id(_LAYER, rule.name), str(error)),))
    return Requested(
        outputs=tuple((layered_id(_LAYER, routing_rule_id(spec.family, spec.priority)), spec) for spec in specs)
    )


def rule_specs(rule: RoutingRuleConfig) -> Sequence[RoutingRuleSpecSpec]:
    """The specs of a rule. Raises ValueError."""
    if not (rule.name.isascii() and rule.name.isdecimal()):
        raise ValueError(f"the name {rule.name!r} must be a priority, a number")
    source, destination = _prefix(rule.src), _prefix(rule.dst)
    versions = {each.version for each in (source, destination) if each is not None}
    if len(versions) > 1:
        raise ValueError(f"src {rule.src} and dst {rule.dst} are of different families")
    families = [Family.INET6 if version == 6 else Family.INET4 for version in versions]
    return [
        RoutingRuleSpecSpec(
            family=family,
            src="" if source is None else str(source),
            dst="" if destination is None else str(destination),
            # A rule that looks nothing up has no table.
            table=RoutingTable(rule.table) if rule.table else RoutingTable.of(0),
            priority=int(rule.name),
            action=RuleAction(rule.action.value),
            iif_name=rule.iif_name,
            oif_name=rule.oif_name,
            fw_mark=rule.fw_mark,
            fw_mask=rule.fw_mask,
            layer=_LAYER,
        )
        for family in families or (Family.INET4, Family.INET6)
    ]


def _prefix(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    return ipaddress.ip_network(text, strict=False) if text else None


class RoutingRuleConfigController(Controller):
    """Links keep the names as written in the rule."""

    name = "network.RoutingRuleConfigController"
    only_derives = True
    inputs = (weak(MachineConfig, MACHINE_CONFIG_ID),)
    outputs = (shared(RoutingRuleSpec), shared(NetworkProblem))

    async def run(self, ctx: ControllerContext) -> None:
        """Follow the configuration."""
        derived: DerivedOutputs[RoutingRuleSpecSpec, RoutingRuleSpecSpec] = DerivedOutputs(
            ctx, RoutingRuleSpec, CONFIG_NAMESPACE, last
        )
        async for _ in ctx:
            await derived.follow(document_parts(machine_config(ctx), RoutingRuleConfig), requested_rules)
