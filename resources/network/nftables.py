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
    operator: MatchOperator = MatchOperator.EQUAL


@attrs.frozen(kw_only=True)
class Mark:
    """As a match: (mark & mask) ^ xor == value. As a setting: mark becomes (mark & mask) ^ xor."""

    mask: int = 0
    xor: int = 0
    value: int = 0


@attrs.frozen(kw_only=True)
class ConntrackStateMatch:
    """Matches packets by the state of their connection: `new`, `established`, `related`, `invalid`."""

    states: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class AddressMatch:
    """Matches packets whose address is in the included subnets and not in the excluded ones; `invert`: all others.

    Or, `set_name`, in the set of this name (then no subnets are given). Without addresses nothing matches.
    """

    include_subnets: tuple[str, ...] = ()
    exclude_subnets: tuple[str, ...] = ()
    invert: bool = False
    set_name: str = attrs.field(default="", metadata=_OPTIONAL)


@attrs.frozen(kw_only=True)
class PortRange:
    """Ports from `lo` to `hi`, both included."""

    lo: int
    hi: int


@attrs.frozen(kw_only=True)
class PortMatch:
    """Matches any of these ports."""

    ranges: tuple[PortRange, ...] = ()


@attrs.frozen(kw_only=True)
class ICMPTypeMatch:
    """Matches any of these types of ICMP, by nft's names."""

    types: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class Layer4Match:
    """Matches a protocol (`tcp`, `udp`, `icmp`, `icmpv6`) and optionally its ports or types."""

    protocol: str
    match_source_port: PortMatch | None = attrs.field(default=None, metadata=_OPTIONAL)
    match_destination_port: PortMatch | None = attrs.field(default=None, metadata=_OPTIONAL)
    match_icmp_type: ICMPTypeMatch | None = attrs.field(default=None, metadata=wire("matchICMPType", omit_empty=True))


@attrs.frozen(kw_only=True)
class LimitMatch:
    """Matches up to this many packets per second."""

    packet_rate_per_second: int


@attrs.frozen(kw_only=True)
class ClampMSS:
    """Lowers, never raises, the MSS of new TCP connections to fit this MTU."""

    mtu: int


# Rules are looked up by their value: a chain has thousands.
@attrs.frozen(kw_only=True, cache_hash=True)
class NfTablesRule:
    """One rule: if all matches hold, it clamps, counts, sets the mark and decides, where configured."""

    match_iif_name: IfNameMatch | None = attrs.field(default=None, metadata=wire("matchIIfName", omit_empty=True))
    match_oif_name: IfNameMatch | None = attrs.field(default=None, metadata=wire("matchOIfName", omit_empty=True))
    match_mark: Mark | None = attrs.field(default=None, metadata=_OPTIONAL)
    match_conntrack_state: ConntrackStateMatch | None = attrs.field(default=None, metadata=_OPTIONAL)
    match_source_address: AddressMatch | None = attrs.field(default=None, metadata=_OPTIONAL)
    match_destination_address: AddressMatch | None = attrs.field(default=None, metadata=_OPTIONAL)
    match_layer4: Layer4Match | None = attrs.field(default=None, metadata=_OPTIONAL)
    match_limit: LimitMatch | None = attrs.field(default=None, metadata=_OPTIONAL)
    clamp_mss: ClampMSS | None = attrs.field(default=None, metadata=wire("clampMSS", omit_empty=True))
    set_mark: Mark | None = attrs.field(default=None, metadata=_OPTIONAL)
    anonymous_counter: bool = attrs.field(default=False, metadata=_OPTIONAL)
    verdict: Verdict | None = attrs.field(default=None, metadata=_OPTIONAL)


@attrs.frozen(kw_only=True)
class NfTablesChainSpec:
    """A chain: its hook and priority, the policy for packets that no rule decides, and its rules in order.

    A `guard` chain has a copy in a table that no other process can change while the agent runs.
    """

    type: ChainType = ChainType.FILTER
    hook: ChainHook = ChainHook.PREROUTING
    priority: ChainPriority = ChainPriority.FILTER
    policy: Verdict = Verdict.ACCEPT
    rules: tuple[NfTablesRule, ...] = ()
    guard: bool = attrs.field(default=False, metadata=_OPTIONAL)


@attrs.frozen(kw_only=True)
class NfTablesSetElementsSpec:
    """The elements of one owner in a set: prefixes of either family."""

    set_name: str
    prefixes: tuple[str, ...] = ()


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
