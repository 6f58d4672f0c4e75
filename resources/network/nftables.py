"""NfTablesChain: a chain of packet filter rules; NfTablesSetElements: the elements of one owner in a set used by rules.

Chains are in a table of the agent's own, of family inet. A chain is replaced atomically; elements are added and
removed one by one, so a set may have thousands of elements and as many owners.
"""

import enum
import re
from typing import Self

import attrs

from nodespan.resources.network.enums import KernelEnum
from nodespan.resources.network.namespace import NAMESPACE
from nodespan.runtime.resource import ResourceType, wire

_OPTIONAL = wire(omit_empty=True)
_UNNAMED = re.compile(r"NfTablesChainPriority\((?P<number>-?\d{1,10})\)|(?P<bare>-?\d{1,10})", re.ASCII)

# The chains of the ingress firewall.
INGRESS_CHAIN_ID = "ingress"
PREROUTING_CHAIN_ID = "prerouting"


class ChainType(enum.StrEnum):
    """The type of a chain; `route` chains repeat the route lookup if they change a packet's mark."""

    FILTER = "filter"
    ROUTE = "route"
    NAT = "nat"


class ChainHook(KernelEnum):
    """The hook in the packet's path at which the chain runs."""

    PREROUTING = "prerouting", 0
    INPUT = "input", 1
    FORWARD = "forward", 2
    OUTPUT = "output", 3
    POSTROUTING = "postrouting", 4


class ChainPriority(KernelEnum):
    """The named priorities of chains on a hook; lower ones run first. Any other number is valid too."""

    FIRST = "first", -(1 << 31)
    CONNTRACK_DEFRAG = "conntrack-defrag", -400
    RAW = "raw", -300
    SELINUX_FIRST = "selinux-first", -225
    CONNTRACK = "conntrack", -200
    MANGLE = "mangle", -150
    NAT_DEST = "nat-dest", -100
    FILTER = "filter", 0
    SECURITY = "security", 50
    NAT_SOURCE = "nat-source", 100
    SELINUX_LAST = "selinux-last", 225
    CONNTRACK_HELPER = "conntrack-helper", 300
    LAST = "last", (1 << 31) - 1

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        match = _UNNAMED.fullmatch(value) if isinstance(value, str) else None
        return None if match is None else cls.of(int(match["bare"] or match["number"]))

    @classmethod
    def _unnamed(cls, number: int) -> str:
        return f"NfTablesChainPriority({number})"


class Verdict(KernelEnum):
    """What happens to a packet."""

    DROP = "drop", 0
    ACCEPT = "accept", 1


class MatchOperator(enum.StrEnum):
    """Whether the listed values match, or all others."""

    EQUAL = "=="
    NOT_EQUAL = "!="


@attrs.frozen(kw_only=True)
class IfNameMatch:
    """Matches packets by input or output link."""

    interface_names: tuple[str, ...] = attrs.field(default=(), metadata=wire("interfaceName"))
    """The names of the links."""
    operator: MatchOperator = MatchOperator.EQUAL
    """Whether these match, or all others."""


@attrs.frozen(kw_only=True)
class Mark:
    """As a match: (mark & mask) ^ xor == value. As a setting: mark becomes (mark & mask) ^ xor."""

    mask: int = 0
    """The bits that are kept."""
    xor: int = 0
    """The bits that are flipped."""
    value: int = 0
    """What the result is compared with."""


@attrs.frozen(kw_only=True)
class ConntrackStateMatch:
    """Matches packets by the state of their connection."""

    states: tuple[str, ...] = ()
    """The states: `new`, `established`, `related`, `invalid`."""


@attrs.frozen(kw_only=True)
class AddressMatch:
    """Matches packets by an address: either by subnets or by a set. Without addresses nothing matches."""

    include_subnets: tuple[str, ...] = ()
    """The subnets that match."""
    exclude_subnets: tuple[str, ...] = ()
    """Subnets of them that do not match."""
    invert: bool = False
    """Whether all other packets match instead."""
    set_name: str = attrs.field(default="", metadata=_OPTIONAL)
    """The set whose elements match, in place of subnets."""


@attrs.frozen(kw_only=True)
class AddressTypeMatch:
    """Matches packets by what the kernel's routes say of their destination, at the moment when they come."""

    types: tuple[str, ...] = ()
    """The types by nft's names: `local` is an address of this machine, on whichever link, `anycast` one of several."""
    invert: bool = False
    """Whether all other packets match instead."""


@attrs.frozen(kw_only=True)
class PortRange:
    """A range of ports."""

    lo: int
    """The first port."""
    hi: int
    """The last port."""


@attrs.frozen(kw_only=True)
class PortMatch:
    """Matches any of these ports."""

    ranges: tuple[PortRange, ...] = ()
    """The ports."""


@attrs.frozen(kw_only=True)
class ICMPTypeMatch:
    """Matches any of these types of ICMP, by nft's names."""

    types: tuple[str, ...] = ()
    """The types, by nft's names."""


@attrs.frozen(kw_only=True)
class Layer4Match:
    """Matches a protocol, and optionally its ports or types."""

    protocol: str
    """`tcp`, `udp`, `icmp` or `icmpv6`."""
    match_source_port: PortMatch | None = attrs.field(default=None, metadata=_OPTIONAL)
    """The port that a packet comes from."""
    match_destination_port: PortMatch | None = attrs.field(default=None, metadata=_OPTIONAL)
    """The port that a packet is for."""
    match_icmp_type: ICMPTypeMatch | None = attrs.field(default=None, metadata=wire("matchICMPType", omit_empty=True))
    """The type of an ICMP packet."""


@attrs.frozen(kw_only=True)
class LimitMatch:
    """Matches up to a rate."""

    packet_rate_per_second: int
    """Packets per second."""


@attrs.frozen(kw_only=True)
class ClampMSS:
    """Lowers, never raises, the MSS of new TCP connections."""

    mtu: int
    """The MTU in bytes that segments must fit."""


# Rules are looked up by their value: a chain has thousands.
@attrs.frozen(kw_only=True, cache_hash=True)
class NfTablesRule:
    """One rule: if all matches hold, it clamps, counts, sets the mark and decides, where configured."""

    match_iif_name: IfNameMatch | None = attrs.field(default=None, metadata=wire("matchIIfName", omit_empty=True))
    """The link that a packet comes in by."""
    match_oif_name: IfNameMatch | None = attrs.field(default=None, metadata=wire("matchOIfName", omit_empty=True))
    """The link that a packet goes out by."""
    match_mark: Mark | None = attrs.field(default=None, metadata=_OPTIONAL)
    """The mark of a packet."""
    match_conntrack_state: ConntrackStateMatch | None = attrs.field(default=None, metadata=_OPTIONAL)
    """The state of the packet's connection."""
    match_source_address: AddressMatch | None = attrs.field(default=None, metadata=_OPTIONAL)
    """The address that a packet comes from."""
    match_destination_address: AddressMatch | None = attrs.field(default=None, metadata=_OPTIONAL)
    """The address that a packet is for."""
    match_destination_type: AddressTypeMatch | None = attrs.field(default=None, metadata=_OPTIONAL)
    """What kind of address a packet is for."""
    match_layer4: Layer4Match | None = attrs.field(default=None, metadata=_OPTIONAL)
    """The protocol of a packet."""
    match_limit: LimitMatch | None = attrs.field(default=None, metadata=_OPTIONAL)
    """Up to which rate the rule matches."""
    clamp_mss: ClampMSS | None = attrs.field(default=None, metadata=wire("clampMSS", omit_empty=True))
    """The largest MSS of new TCP connections."""
    set_mark: Mark | None = attrs.field(default=None, metadata=_OPTIONAL)
    """The mark that the packet gets."""
    anonymous_counter: bool = attrs.field(default=False, metadata=_OPTIONAL)
    """Whether packets are counted."""
    verdict: Verdict | None = attrs.field(default=None, metadata=_OPTIONAL)
    """What happens to the packet; unset goes on with the next rule."""


@attrs.frozen(kw_only=True)
class NfTablesChainSpec:
    """A chain of rules."""

    type: ChainType = ChainType.FILTER
    """The type of the chain."""
    hook: ChainHook = ChainHook.PREROUTING
    """The hook in the packet's path at which it runs."""
    priority: ChainPriority = ChainPriority.FILTER
    """When it runs among the chains of the hook; lower ones run first."""
    policy: Verdict = Verdict.ACCEPT
    """What happens to packets that no rule decides."""
    rules: tuple[NfTablesRule, ...] = ()
    """The rules, in order."""
    guard: bool = attrs.field(default=False, metadata=_OPTIONAL)
    """Whether the chain has a copy in a table that no other process can change while the agent runs."""


@attrs.frozen(kw_only=True)
class NfTablesSetElementsSpec:
    """The elements of one owner in a set."""

    set_name: str
    """The name of the set."""
    prefixes: tuple[str, ...] = ()
    """The elements: prefixes of either family."""


def nftables_set_elements_id(set_name: str, owner: str) -> str:
    """`kubespan_routed/<owner>`."""
    return f"{set_name}/{owner}"


NfTablesChain = ResourceType(
    "NfTablesChains.net.talos.dev",
    NfTablesChainSpec,
    namespace=NAMESPACE,
    aliases=("chain", "chains"),
    columns={"Type": ".type", "Hook": ".hook", "Priority": ".priority", "Policy": ".policy"},
)
NfTablesSetElements = ResourceType(
    "NfTablesSetElements.net.nodespan.dev",
    NfTablesSetElementsSpec,
    namespace=NAMESPACE,
    columns={"Set": ".setName", "Prefixes": ".prefixes"},
)
