"""The kernel's network constants and their texts: one enum per number space.

The kernel gains numbers faster than any table. A number that is not in its table is shown as digits (as `ip`
does), and such digits are parsed: `RouteProtocol("77").number == 77`.
"""

import enum
import functools
from typing import Any, Self, TypeVar

from nodespan.runtime.resource import TextFlag

_E = TypeVar("_E", bound="KernelEnum")


class KernelEnum(enum.StrEnum):
    """A choice: its value is the text, its `number` is the kernel's. Unnamed numbers are digits."""

    number: int

    # The number has a default only so that type checkers accept a lookup, `RouteProtocol("dhcp")`.
    def __new__(cls, text: str, number: int = 0) -> Self:
        """A member of the table: `KERNEL = "kernel", 2`."""
        member = str.__new__(cls, text)
        member._value_ = text
        member.number = number
        return member

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not (isinstance(value, str) and value.isascii() and value.isdecimal()):
            return None
        return cls.of(int(value))

    @classmethod
    def of(cls, number: int) -> Self:
        """The member for a number from the kernel; never raises for a number from 0 up."""
        named: Self | None = _by_number(cls).get(number)
        if named is not None:
            return named
        # A pseudo-member, as enum.Flag creates for combinations: equal by its text, like every str.
        unnamed = str.__new__(cls, cls._unnamed(number))
        unnamed._name_ = unnamed._value_ = str(unnamed)
        unnamed.number = number
        return unnamed

    @classmethod
    def _unnamed(cls, number: int) -> str:
        """The text for a number without a name."""
        return str(number)

    def __reduce_ex__(self, proto: object) -> tuple[Any, ...]:
        """Copy and pickle by number: some Python versions use the name, and unnamed ones have none."""
        return type(self).of, (self.number,)


@functools.cache
def _by_number(table: type[_E]) -> dict[int, _E]:
    return {member.number: member for member in table}


class Family(KernelEnum):
    """Address families."""

    INET4 = "inet4", 2
    INET6 = "inet6", 10


class Scope(KernelEnum):
    """The scope of an address or a route; the higher the number, the narrower."""

    GLOBAL = "global", 0
    SITE = "site", 200
    LINK = "link", 253
    HOST = "host", 254
    NOWHERE = "nowhere", 255


class RoutingTable(KernelEnum):
    """Routing tables: three have names, all others are digits."""

    DEFAULT = "default", 253
    MAIN = "main", 254
    LOCAL = "local", 255


class RouteType(KernelEnum):
    """What a route does with a packet."""

    UNSPEC = "unspec", 0
    UNICAST = "unicast", 1
    LOCAL = "local", 2
    BROADCAST = "broadcast", 3
    ANYCAST = "anycast", 4
    MULTICAST = "multicast", 5
    BLACKHOLE = "blackhole", 6
    UNREACHABLE = "unreachable", 7
    PROHIBIT = "prohibit", 8
    THROW = "throw", 9
    NAT = "nat", 10
    XRESOLVE = "xresolve", 11


class RouteProtocol(KernelEnum):
    """The originator of a route or a rule."""

    UNSPEC = "unspec", 0
    REDIRECT = "redirect", 1
    KERNEL = "kernel", 2
    BOOT = "boot", 3
    STATIC = "static", 4
    RA = "ra", 9
    MRT = "mrt", 10
    ZEBRA = "zebra", 11
    BIRD = "bird", 12
    DNROUTED = "dnrouted", 13
    XORP = "xorp", 14
    NTK = "ntk", 15
    DHCP = "dhcp", 16
    MRTD = "mrtd", 17
    KEEPALIVED = "keepalived", 18
    BABEL = "babel", 42
    OPENR = "openr", 99
    BGP = "bgp", 186
    ISIS = "isis", 187
    OSPF = "ospf", 188
    RIP = "rip", 189
    EIGRP = "eigrp", 192


class RuleAction(KernelEnum):
    """What a routing rule does with a packet; unicast looks it up in the rule's table."""

    UNICAST = "unicast", 1
    BLACKHOLE = "blackhole", 6
    UNREACHABLE = "unreachable", 7
    PROHIBIT = "prohibit", 8


class LinkType(KernelEnum):
    """Kinds of hardware (ARPHRD). The first also stands for unset, as in the originals."""

    NETROM = "netrom", 0
    ETHER = "ether", 1
    INFINIBAND = "infiniband", 32
    PPP = "ppp", 512
    IPIP = "ipip", 768
    TUNNEL6 = "tunnel6", 769
    LOOPBACK = "loopback", 772
    SIT = "sit", 776
    GRE = "gre", 778
    IEEE80211 = "ieee802.11", 801
    IP6GRE = "ip6gre", 823
    NETLINK = "netlink", 824
    NOHDR = "nohdr", 65534
    VOID = "void", 65535


class OperationalState(KernelEnum):
    """Whether a link can carry packets (RFC 2863)."""

    UNKNOWN = "unknown", 0
    NOT_PRESENT = "notPresent", 1
    DOWN = "down", 2
    LOWER_LAYER_DOWN = "lowerLayerDown", 3
    TESTING = "testing", 4
    DORMANT = "dormant", 5
    UP = "up", 6


class Port(KernelEnum):
    """The connector of a NIC; `Other` also when the driver does not report it."""

    TWISTED_PAIR = "TwistedPair", 0
    AUI = "AUI", 1
    MII = "MII", 2
    FIBRE = "Fibre", 3
    BNC = "BNC", 4
    DIRECT_ATTACH = "DirectAttach", 5
    NONE = "None", 239
    OTHER = "Other", 255


class Duplex(KernelEnum):
    """Whether a link sends and receives simultaneously."""

    HALF = "Half", 0
    FULL = "Full", 1
    UNKNOWN = "Unknown", 255


class VLANProtocol(KernelEnum):
    """The tag protocol of a VLAN (Ethernet type)."""

    IEEE8021Q = "802.1q", 33024
    IEEE8021AD = "802.1ad", 34984


class MacvlanMode(KernelEnum):
    """Whom a macvlan can reach of those on the same parent: the kernel's bits, of which one is set."""

    PRIVATE = "private", 1
    VEPA = "vepa", 2
    BRIDGE = "bridge", 4
    PASSTHRU = "passthru", 8
    SOURCE = "source", 16


class IPVLANMode(KernelEnum):
    """At which layer an IPVLAN takes packets from its parent."""

    L2 = "l2", 0
    L3 = "l3", 1
    L3S = "l3s", 2


class IPVLANFlags(KernelEnum):
    """Whom an IPVLAN can reach of those on the same parent."""

    BRIDGE = "bridge", 0
    PRIVATE = "private", 1
    VEPA = "vepa", 2


class BondMode(KernelEnum):
    """How a bond distributes packets over its members."""

    ROUND_ROBIN = "balance-rr", 0
    ACTIVE_BACKUP = "active-backup", 1
    XOR = "balance-xor", 2
    BROADCAST = "broadcast", 3
    IEEE8023AD = "802.3ad", 4
    TLB = "balance-tlb", 5
    ALB = "balance-alb", 6


class XmitHashPolicy(KernelEnum):
    """Which header fields choose the member of a bond."""

    LAYER2 = "layer2", 0
    LAYER34 = "layer3+4", 1
    LAYER23 = "layer2+3", 2
    ENCAP23 = "encap2+3", 3
    ENCAP34 = "encap3+4", 4
    VLAN_SRCMAC = "vlan+srcmac", 5


class LACPRate(KernelEnum):
    """How often a bond requests LACP packets from its partner."""

    SLOW = "slow", 0
    FAST = "fast", 1


class ARPValidate(KernelEnum):
    """Which members of a bond validate ARP probes."""

    NONE = "none", 0
    ACTIVE = "active", 1
    BACKUP = "backup", 2
    ALL = "all", 3
    FILTER = "filter", 4
    FILTER_ACTIVE = "filter-active", 5
    FILTER_BACKUP = "filter-backup", 6


class ARPAllTargets(KernelEnum):
    """Whether one or every ARP target must answer for a member to be up."""

    ANY = "any", 0
    ALL = "all", 1


class PrimaryReselect(KernelEnum):
    """When the primary member of a bond takes over again."""

    ALWAYS = "always", 0
    BETTER = "better", 1
    FAILURE = "failure", 2


class FailOverMAC(KernelEnum):
    """Which MAC addresses the members of a bond carry."""

    NONE = "none", 0
    ACTIVE = "active", 1
    FOLLOW = "follow", 2


class ADSelect(KernelEnum):
    """How a bond chooses among its aggregators."""

    STABLE = "stable", 0
    BANDWIDTH = "bandwidth", 1
    COUNT = "count", 2


class ADLACPActive(KernelEnum):
    """Whether a bond sends LACP packets unsolicited."""

    OFF = "off", 0
    ON = "on", 1


class LinkFlags(TextFlag):
    """The IFF_ flags of a link."""

    UP = 1 << 0
    BROADCAST = 1 << 1
    DEBUG = 1 << 2
    LOOPBACK = 1 << 3
    POINTTOPOINT = 1 << 4
    NOTRAILERS = 1 << 5
    RUNNING = 1 << 6
    NOARP = 1 << 7
    PROMISC = 1 << 8
    ALLMULTI = 1 << 9
    MASTER = 1 << 10
    SLAVE = 1 << 11
    MULTICAST = 1 << 12
    PORTSEL = 1 << 13
    AUTOMEDIA = 1 << 14
    DYNAMIC = 1 << 15
    LOWER_UP = 1 << 16
    DORMANT = 1 << 17
    ECHO = 1 << 18


class _LowerCaseFlag(TextFlag):
    @classmethod
    def labels(cls) -> dict[int, str]:
        """Bit → the member's name in lower case."""
        return {member.value: (member.name or "").lower() for member in cls}


class AddressFlags(_LowerCaseFlag):
    """The IFA_F_ flags of an address; `temporary` is what IPv4 calls secondary."""

    TEMPORARY = 1 << 0
    NODAD = 1 << 1
    OPTIMISTIC = 1 << 2
    DADFAILED = 1 << 3
    HOMEADDRESS = 1 << 4
    DEPRECATED = 1 << 5
    TENTATIVE = 1 << 6
    PERMANENT = 1 << 7
    MNGMTMPADDR = 1 << 8
    NOPREFIXROUTE = 1 << 9
    MCAUTOJOIN = 1 << 10
    STABLEPRIVACY = 1 << 11


class RouteFlags(_LowerCaseFlag):
    """The RTM_F_ flags of a route; the state of the next hop, in the lower bits, is left out."""

    NOTIFY = 0x100
    CLONED = 0x200
    EQUALIZE = 0x400
    PREFIX = 0x800
    LOOKUP_TABLE = 0x1000
    FIB_MATCH = 0x2000
    OFFLOAD = 0x4000
    TRAP = 0x8000
