"""NfTablesChain: a chain of packet filter rules; NfTablesSetElements: what one owner puts into a set that rules match.

Chains live in a table of the agent's own, of family inet. A chain is replaced as a whole and at once; elements come and
go one by one, so a set may hold thousands that belong to as many owners.
"""

import enum
from typing import Self

import attrs

from nodespan.resources.network.enums import KernelEnum
from nodespan.resources.network.namespace import NAMESPACE
from nodespan.runtime.resource import ResourceType, wire

_OPTIONAL = wire(omit_empty=True)


class ChainType(enum.StrEnum):
    """What the rules of a chain may do; `route` chains look the route up anew if they change a packet's mark."""

    FILTER = "filter"
    ROUTE = "route"
    NAT = "nat"


class ChainHook(KernelEnum):
    """Where on its way through the kernel a packet meets the chain."""

    PREROUTING = "prerouting", 0
    INPUT = "input", 1
    FORWARD = "forward", 2
    OUTPUT = "output", 3
    POSTROUTING = "postrouting", 4


class ChainPriority(KernelEnum):
    """The places among the chains of a hook that have names; the lower, the earlier. Any other number will do too."""

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
        if isinstance(value, str) and value.startswith("-") and value[1:].isascii() and value[1:].isdecimal():
            return cls.of(int(value))
        return super()._missing_(value)


class Verdict(KernelEnum):
    """What becomes of a packet."""

    DROP = "drop", 0
    ACCEPT = "accept", 1


class MatchOperator(enum.StrEnum):
    """Whether what is listed matches, or everything else."""

    EQUAL = "=="
    NOT_EQUAL = "!="


@attrs.frozen(kw_only=True)
class IfNameMatch:
    """Matches packets by the link they come in or go out by."""

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

    Or, `set_name`, in the set of this name (then no subnets are given). Without any address nothing matches.
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
    """Matches any of these types of ICMP, by the names that nft has for them."""

    types: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class Layer4Match:
    """Matches a protocol (`tcp`, `udp`, `icmp`, `icmpv6`) and, where given, its ports or types."""

    protocol: str
    match_source_port: PortMatch | None = attrs.field(default=None, metadata=_OPTIONAL)
    match_destination_port: PortMatch | None = attrs.field(default=None, metadata=_OPTIONAL)
    match_icmp_type: ICMPTypeMatch | None = attrs.field(default=None, metadata=wire("matchICMPType", omit_empty=True))


@attrs.frozen(kw_only=True)
class LimitMatch:
    """Matches as long as there are no more packets a second than this."""

    packet_rate_per_second: int


@attrs.frozen(kw_only=True)
class ClampMSS:
    """Lowers, never raises, the MSS of TCP connections that are being opened to what fits into this MTU."""

    mtu: int


@attrs.frozen(kw_only=True)
class NfTablesRule:
    """One rule: all matches must hold; then it clamps, counts, sets the mark and decides, as far as it says so."""

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
    """A chain: where it sits, what becomes of packets that no rule decides about, and its rules in order.

    A `guard` chain exists twice: also in a table that no other process can change, as long as the agent runs.
    """

    type: ChainType = ChainType.FILTER
    hook: ChainHook = ChainHook.PREROUTING
    priority: ChainPriority = ChainPriority.FILTER
    policy: Verdict = Verdict.ACCEPT
    rules: tuple[NfTablesRule, ...] = ()
    guard: bool = attrs.field(default=False, metadata=_OPTIONAL)


@attrs.frozen(kw_only=True)
class NfTablesSetElementsSpec:
    """What one owner puts into a set: prefixes of either family."""

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
