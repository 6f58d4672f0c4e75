"""kubespan.ManagerController: what the mesh needs of the network, as specs; it touches no kernel itself.

The link with this node's keys, its address, one route and one rule per family that lead marked packets into it, and
the two chains that mark them. Peers, and the addresses that are marked, are kept one by one by
`kubespan.PeerController`.
"""

from collections.abc import Iterable
from ipaddress import IPv6Interface

from nodespan.controllers.kubespan.data_path import (
    DISCOVERY_SET,
    ETCD_SET,
    FIREWALL_MARK,
    FORCE_MARK,
    GUARD_CHAIN,
    IPV4_PRESENCE,
    LINK_NAME,
    MARK_MASK,
    OUTGOING_CHAIN,
    PREROUTING_CHAIN,
    ROUTE_METRIC,
    ROUTED_SET,
    ROUTING_TABLE,
    RULE_PRIORITY,
)
from nodespan.controllers.kubespan.discovery_path import ways, ways_to_etcd
from nodespan.resources.cluster import DISCOVERY_CONFIG_ID, DiscoveryConfig
from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig
from nodespan.resources.kubespan import (
    KUBESPAN_CONFIG_ID,
    LOCAL,
    KubeSpanConfig,
    KubeSpanConfigSpec,
    KubeSpanIdentity,
    KubeSpanIdentitySpec,
)
from nodespan.resources.network import (
    CONFIG_NAMESPACE,
    AddressFlags,
    AddressMatch,
    AddressSpec,
    AddressSpecSpec,
    ChainHook,
    ChainPriority,
    ChainType,
    ClampMSS,
    ConfigLayer,
    Family,
    ICMPTypeMatch,
    IfNameMatch,
    Layer4Match,
    LinkSpec,
    LinkSpecSpec,
    LinkType,
    Mark,
    NfTablesChain,
    NfTablesChainSpec,
    NfTablesRule,
    PortMatch,
    PortRange,
    RouteProtocol,
    RouteSpec,
    RouteSpecSpec,
    RouteType,
    RoutingRuleSpec,
    RoutingRuleSpecSpec,
    RoutingTable,
    RuleAction,
    Scope,
    Verdict,
    WireguardSpec,
    address_id,
    layered_id,
    route_id,
    routing_rule_id,
)
from nodespan.resources.runtime import ENVIRONMENT_ID, Environment
from nodespan.runtime.controller import Controller, ControllerContext, destroy_ready, shared, weak
from nodespan.runtime.errors import PhaseConflictError

_LAYER = ConfigLayer.OPERATOR
_LINKS = LinkSpec.within(CONFIG_NAMESPACE)
_ADDRESSES = AddressSpec.within(CONFIG_NAMESPACE)
_ROUTES = RouteSpec.within(CONFIG_NAMESPACE)
_RULES = RoutingRuleSpec.within(CONFIG_NAMESPACE)
_CHAINS = NfTablesChain.kind


def link_spec(config: KubeSpanConfigSpec, identity: KubeSpanIdentitySpec) -> LinkSpecSpec:
    """The WireGuard link, without its peers."""
    return LinkSpecSpec(
        name=LINK_NAME,
        logical=True,
        up=True,
        mtu=config.mtu,
        kind="wireguard",
        type=LinkType.NOHDR,
        wireguard=WireguardSpec(
            private_key=identity.private_key,
            listen_port=config.listen_port,
            firewall_mark=FIREWALL_MARK,
            loose_reverse_path=True,
        ),
        layer=_LAYER,
    )


def address_spec(identity: KubeSpanIdentitySpec) -> AddressSpecSpec:
    """This node's address with the prefix that all nodes share, so that they are reached without a mark."""
    address, subnet = IPv6Interface(identity.address), IPv6Interface(identity.subnet)
    return AddressSpecSpec(
        address=f"{address.ip}/{subnet.network.prefixlen}",
        link_name=LINK_NAME,
        family=Family.INET6,
        scope=Scope.GLOBAL,
        flags=AddressFlags.PERMANENT,
        layer=_LAYER,
    )


def presence_spec() -> AddressSpecSpec:
    """An unused IPv4 address, without which the kernel accepts no IPv4 from the tunnel."""
    return AddressSpecSpec(
        address=IPV4_PRESENCE,
        link_name=LINK_NAME,
        family=Family.INET4,
        scope=Scope.HOST,
        flags=AddressFlags.PERMANENT,
        layer=_LAYER,
    )


def route_spec(family: Family, mtu: int) -> RouteSpecSpec:
    """The default route of the table that marked packets are looked up in."""
    return RouteSpecSpec(
        family=family,
        out_link_name=LINK_NAME,
        table=RoutingTable.of(ROUTING_TABLE),
        priority=ROUTE_METRIC,
        scope=Scope.GLOBAL,
        type=RouteType.UNICAST,
        protocol=RouteProtocol.STATIC,
        mtu=mtu,
        layer=_LAYER,
    )


def rule_spec(family: Family) -> RoutingRuleSpecSpec:
    """Sends marked packets to that table."""
    return RoutingRuleSpecSpec(
        family=family,
        table=RoutingTable.of(ROUTING_TABLE),
        priority=RULE_PRIORITY,
        action=RuleAction.UNICAST,
        fw_mark=FORCE_MARK,
        fw_mask=MARK_MASK,
        layer=_LAYER,
    )


def spec_route_id(route: RouteSpecSpec) -> str:
    """The id of a desired route."""
    return route_id(
        table=route.table,
        family=route.family,
        out_link_name=route.out_link_name,
        gateway=route.gateway,
        dst=route.dst,
        priority=route.priority,
    )


_TUNNEL_PACKETS = NfTablesRule(match_mark=Mark(mask=MARK_MASK, value=FIREWALL_MARK), verdict=Verdict.ACCEPT)
# It carries no data, and its answers go to peers' addresses: sent into the tunnel, they would be missed on the wire,
# and no endpoint on the same network could be reached by IPv6.
_NEIGHBOUR_DISCOVERY = NfTablesRule(
    match_layer4=Layer4Match(
        protocol="icmpv6", match_icmp_type=ICMPTypeMatch(types=("nd-neighbor-solicit", "nd-neighbor-advert"))
    ),
    verdict=Verdict.ACCEPT,
)
_TO_PEERS = AddressMatch(set_name=ROUTED_SET)
_FORCE = NfTablesRule(
    match_destination_address=_TO_PEERS,
    set_mark=Mark(mask=~MARK_MASK & 0xFFFFFFFF, xor=FORCE_MARK),
    verdict=Verdict.ACCEPT,
)


def prerouting_chain() -> NfTablesChainSpec:
    """Marks what is forwarded to addresses of peers."""
    return NfTablesChainSpec(
        type=ChainType.FILTER,
        hook=ChainHook.PREROUTING,
        priority=ChainPriority.FILTER,
        policy=Verdict.ACCEPT,
        rules=(_TUNNEL_PACKETS, _FORCE),
    )


def discovery_rules(ports: Iterable[int]) -> tuple[NfTablesRule, ...]:
    """Let connections to the discovery services pass by the tunnel, and the answers of a node that runs one."""
    return _passing(DISCOVERY_SET, ports)


def etcd_rules(ports: Iterable[int]) -> tuple[NfTablesRule, ...]:
    """The same for the members of etcd."""
    return _passing(ETCD_SET, ports)


def _passing(set_name: str, ports: Iterable[int]) -> tuple[NfTablesRule, ...]:
    ranges = tuple(PortRange(lo=port, hi=port) for port in sorted(set(ports)))
    if not ranges:
        return ()
    services, there = AddressMatch(set_name=set_name), PortMatch(ranges=ranges)
    return (
        NfTablesRule(
            match_destination_address=services,
            match_layer4=Layer4Match(protocol="tcp", match_destination_port=there),
            verdict=Verdict.ACCEPT,
        ),
        NfTablesRule(
            match_source_address=services,
            match_layer4=Layer4Match(protocol="tcp", match_source_port=there),
            verdict=Verdict.ACCEPT,
        ),
    )


def outgoing_chain(mtu: int, discovery_ports: Iterable[int] = (), etcd_ports: Iterable[int] = ()) -> NfTablesChainSpec:
    """Marks what this node sends to addresses of peers, and keeps its TCP segments small enough for the tunnel."""
    return NfTablesChainSpec(
        type=ChainType.ROUTE,
        hook=ChainHook.OUTPUT,
        priority=ChainPriority.FILTER,
        policy=Verdict.ACCEPT,
        rules=(
            _TUNNEL_PACKETS,
            NfTablesRule(match_oif_name=IfNameMatch(interface_names=("lo",)), verdict=Verdict.ACCEPT),
            _NEIGHBOUR_DISCOVERY,
            *discovery_rules(discovery_ports),
            *etcd_rules(etcd_ports),
            NfTablesRule(match_destination_address=_TO_PEERS, clamp_mss=ClampMSS(mtu=mtu)),
            _FORCE,
        ),
    )


def guard_chain(subnet: str, discovery_ports: Iterable[int] = (), etcd_ports: Iterable[int] = ()) -> NfTablesChainSpec:
    """Drops what would leave for a peer's address, or the mesh's own prefix, outside the tunnel and in clear text."""
    mesh = str(IPv6Interface(subnet).network)
    return NfTablesChainSpec(
        type=ChainType.FILTER,
        hook=ChainHook.POSTROUTING,
        priority=ChainPriority.CONNTRACK_HELPER,
        policy=Verdict.ACCEPT,
        rules=(
            _TUNNEL_PACKETS,
            NfTablesRule(match_oif_name=IfNameMatch(interface_names=(LINK_NAME, "lo")), verdict=Verdict.ACCEPT),
            _NEIGHBOUR_DISCOVERY,
            *discovery_rules(discovery_ports),
            *etcd_rules(etcd_ports),
            NfTablesRule(match_destination_address=_TO_PEERS, anonymous_counter=True, verdict=Verdict.DROP),
            NfTablesRule(
                match_destination_address=AddressMatch(include_subnets=(mesh,)),
                anonymous_counter=True,
                verdict=Verdict.DROP,
            ),
        ),
        guard=True,
    )


class ManagerController(Controller):
    """Writes its specs while KubeSpan is on and the node has an identity, and removes them otherwise."""

    name = "kubespan.ManagerController"
    inputs = (
        weak(KubeSpanConfig, KUBESPAN_CONFIG_ID),
        weak(KubeSpanIdentity, LOCAL),
        weak(DiscoveryConfig, DISCOVERY_CONFIG_ID),
        weak(Environment, ENVIRONMENT_ID),
        weak(MachineConfig, MACHINE_CONFIG_ID),
        destroy_ready(NfTablesChain),
    )
    outputs = (
        shared(LinkSpec),
        shared(AddressSpec),
        shared(RouteSpec),
        shared(RoutingRuleSpec),
        shared(NfTablesChain),
    )

    async def run(self, ctx: ControllerContext) -> None:
        """Follow the switch and the identity."""
        async for _ in ctx:
            config, identity = ctx.find(KubeSpanConfig, KUBESPAN_CONFIG_ID), ctx.find(KubeSpanIdentity, LOCAL)
            if config is None or not config.spec.enabled or identity is None:
                await self._remove_all(ctx)
            else:
                await self._write(ctx, config.spec, identity.spec)

    async def _write(self, ctx: ControllerContext, config: KubeSpanConfigSpec, identity: KubeSpanIdentitySpec) -> None:
        async with ctx.tracked_outputs(_LINKS, _ADDRESSES, _ROUTES, _RULES):
            await ctx.put(_LINKS, layered_id(_LAYER, LINK_NAME), link_spec(config, identity))
            await ctx.put(
                _ADDRESSES, layered_id(_LAYER, address_id(LINK_NAME, identity.address)), address_spec(identity)
            )
            await ctx.put(_ADDRESSES, layered_id(_LAYER, address_id(LINK_NAME, IPV4_PRESENCE)), presence_spec())
            for family in (Family.INET4, Family.INET6):
                route, rule = route_spec(family, config.mtu), rule_spec(family)
                await ctx.put(_ROUTES, layered_id(_LAYER, spec_route_id(route)), route)
                await ctx.put(_RULES, layered_id(_LAYER, routing_rule_id(family, RULE_PRIORITY)), rule)
            discovery = ctx.find(DiscoveryConfig, DISCOVERY_CONFIG_ID)
            environment = ctx.find(Environment, ENVIRONMENT_ID)
            found = ways(
                None if discovery is None else discovery.spec,
                None if environment is None else environment.spec,
                config.relays,
            )
            machine = ctx.find(MachineConfig, MACHINE_CONFIG_ID)
            members = ways_to_etcd(None if machine is None else machine.spec, identity)
            ports, etcd_ports = tuple(port for _, port in found), tuple(port for _, port in members)
            chains = {
                PREROUTING_CHAIN: prerouting_chain(),
                OUTGOING_CHAIN: outgoing_chain(config.mtu, ports, etcd_ports),
                GUARD_CHAIN: guard_chain(identity.subnet, ports, etcd_ports),
            }
            for name, chain in chains.items():
                try:
                    await ctx.put(_CHAINS, name, chain)
                except PhaseConflictError:
                    # It is still being torn down: it is created again when that is done.
                    if await ctx.remove(_CHAINS, name):
                        await ctx.put(_CHAINS, name, chain)

    async def _remove_all(self, ctx: ControllerContext) -> None:
        async with ctx.tracked_outputs(_LINKS, _ADDRESSES, _ROUTES, _RULES):
            for name in (PREROUTING_CHAIN, OUTGOING_CHAIN, GUARD_CHAIN):
                await ctx.remove(_CHAINS, name)
