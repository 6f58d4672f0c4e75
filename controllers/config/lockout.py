"""Warns who applies a configuration whose firewall would not let the same connection in again.

The chains of the firewall are derived as a dry run does, and asked about the first packet of such a connection.
"""

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_interface, ip_network
from typing import Any

import attrs

from nodespan.controllers.common.packet_verdict import Packet, verdict
from nodespan.controllers.common.ports import HIGHEST_PORT
from nodespan.controllers.config.dry_run import derived
from nodespan.resources.config import MachineConfigSpec, NetworkDefaultActionConfig, NetworkRuleConfig
from nodespan.resources.kubespan import KubeSpanPeerSpec, KubeSpanPeerSpecSpec
from nodespan.resources.network import (
    INGRESS_CHAIN_ID,
    PREROUTING_CHAIN_ID,
    ROUTED_ADDRESSES_ID,
    ROUTED_NO_K8S_ID,
    NfTablesChain,
    NfTablesChainSpec,
    NodeAddress,
    Verdict,
)
from nodespan.runtime.actions import ActionError
from nodespan.runtime.plugins import AnyController
from nodespan.runtime.state import State

_FIREWALL = (NetworkDefaultActionConfig, NetworkRuleConfig)
_CHAINS = (INGRESS_CHAIN_ID, PREROUTING_CHAIN_ID)

Address = IPv4Address | IPv6Address


@attrs.frozen(kw_only=True)
class Caller:
    """The connection by which a configuration is applied: from where, and to which TCP port of this node.

    `destination` is None if it is not known at which of its addresses.
    """

    source: Address
    destination: Address | None
    port: int


def caller_of(arguments: Mapping[str, Any]) -> Caller | None:
    """The connection that a request names; None if it came from this machine. Raises ActionError."""
    given = arguments.get("caller")
    if given is None:
        return None
    try:
        source, destination, port = given
        there = _address(destination) if destination else None
        return Caller(source=_address(source), destination=there, port=_port(port))
    except (TypeError, ValueError) as error:
        raise ActionError("the caller of the request must be an address, an address here, and a port") from error


def _address(given: Any) -> Address:
    if not isinstance(given, str):
        raise TypeError("not a text")
    address = ip_address(given)
    if isinstance(address, IPv4Address):
        return address
    # Without the link that one of link-local scope may name.
    return address.ipv4_mapped or IPv6Address(int(address))


def _port(given: Any) -> int:
    if not isinstance(given, int) or not 0 < given <= HIGHEST_PORT:
        raise ValueError("not a port")
    return given


async def lockout_warnings(
    config: MachineConfigSpec, live: State, controllers: Iterable[AnyController], caller: Caller | None, *, trial: bool
) -> list[str]:
    """What to tell the caller before the configuration takes effect. `trial`: it goes back by itself."""
    if caller is None or not any(isinstance(document, _FIREWALL) for document in config.documents):
        return []
    deriving = [
        controller
        for controller in controllers
        if controller.only_derives and any(output.type_name == NfTablesChain.name for output in controller.outputs)
    ]
    found = await derived(config, live, deriving)
    chains = [chain.spec for id in _CHAINS if (chain := found.state.find(NfTablesChain, id)) is not None]
    if found.failures:
        return ["warning: whether the firewall of this configuration lets you in again could not be found out\n"]
    own = caller.destination or _own_address(live, caller.source)
    peer = _peer(live, caller.source)
    link = "lo" if _is_own(live, caller.source) else "kubespan" if peer is not None else ""
    packet = Packet(source=caller.source, destination=own, port=caller.port, link=link)
    if verdict(chains, packet) is not Verdict.ACCEPT:
        return [_refused(caller), _what_to_do(caller.port, is_trial=trial)]
    tunnel = config.nodespan.kubespan.listen_port
    if peer is not None and not _lets_tunnel_in(chains, live, peer, tunnel):
        return [_cut(tunnel), _what_to_do(tunnel, is_trial=trial)]
    return []


def _is_own(live: State, source: Address) -> bool:
    own = (ip_interface(address).ip for found in live.list(NodeAddress) for address in found.spec.addresses)
    return source.is_loopback or source in own


def _peer(live: State, source: Address) -> KubeSpanPeerSpecSpec | None:
    """The node of the mesh whose packets come from this address, and so by the mesh's link."""
    for peer in live.list(KubeSpanPeerSpec):
        networks = (ip_network(prefix, strict=False) for prefix in peer.spec.allowed_ips)
        if any(network.version == source.version and source in network for network in networks):
            return peer.spec
    return None


def _lets_tunnel_in(chains: Sequence[NfTablesChainSpec], live: State, peer: KubeSpanPeerSpecSpec, port: int) -> bool:
    """Whether packets of the tunnel, which come by an ordinary link, are let in from any of the peer's endpoints."""
    sources = [ip_address(endpoint.rpartition(":")[0].strip("[]")) for endpoint in peer.endpoints]
    packets = (
        Packet(source=source, destination=_own_address(live, source), protocol="udp", port=port, link="")
        for source in sources
    )
    return not sources or any(verdict(chains, packet) is Verdict.ACCEPT for packet in packets)


def _own_address(live: State, source: Address) -> Address:
    """Any address of this node of the family."""
    for id in (ROUTED_NO_K8S_ID, ROUTED_ADDRESSES_ID):
        found = live.find(NodeAddress, id)
        for address in () if found is None else found.spec.addresses:
            if (own := ip_interface(address).ip).version == source.version:
                return own
    return source


def _cut(port: int) -> str:
    return (
        "warning: the firewall of this configuration lets the tunnel in, through which you are connected, only after "
        f"this node has sent something: it closes UDP port {port}\n"
    )


def _refused(caller: Caller) -> str:
    return (
        f"warning: the firewall of this configuration lets no new connection in from {caller.source} to TCP port "
        f"{caller.port}, by which you are connected; this one goes on\n"
    )


def _what_to_do(port: int, *, is_trial: bool) -> str:
    if is_trial:
        return "unless you confirm it, it goes back by itself\n"
    return (
        f"open it by a NetworkRuleConfig for port {port}, and apply with --mode try, which goes back by itself unless "
        "it is confirmed\n"
    )
