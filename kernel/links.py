"""Links as rtnetlink describes them.

A link's message refers to other links by index only; `with_names` fills in their names.

Not notified, so only the next dump finds it: changes to a link that is down, other than flags and master (alias,
alternative names, options of a bridge or bond).
"""

import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import attrs

from nodespan.kernel import rtnl
from nodespan.kernel.mirror import Effect, ObjectKind
from nodespan.kernel.outside_text import c_text
from nodespan.kernel.rtnetlink import (
    AF_UNSPEC,
    Attributes,
    Message,
    RtnlSocket,
    all_of,
    inside,
    integer,
    ip_address,
    members,
    text,
)
from nodespan.kernel.shared_mirror import Aspect
from nodespan.resources.network.enums import (
    ADLACPActive,
    ADSelect,
    ARPAllTargets,
    ARPValidate,
    BondMode,
    FailOverMAC,
    IPVLANFlags,
    IPVLANMode,
    LACPRate,
    LinkFlags,
    LinkType,
    MacvlanMode,
    OperationalState,
    PrimaryReselect,
    RoutingTable,
    VLANProtocol,
    XmitHashPolicy,
)
from nodespan.resources.network.link import (
    IPVLAN,
    STP,
    VLAN,
    VXLAN,
    BondMaster,
    BridgeMaster,
    BridgeVLAN,
    LinkStatusSpec,
    MacVLAN,
    Veth,
    VRFMaster,
)

_ADDRESS = 1
_BROADCAST = 2
_IFNAME = 3
_MTU = 4
_LINK = 5
_QDISC = 6
_MASTER = 10
_OPERSTATE = 16
_LINKINFO = 18
_IFALIAS = 20
_CARRIER = 33
_LINK_NETNSID = 37
_PROP_LIST = 52
_ALT_IFNAME = 53
_PERMANENT_ADDRESS = 54

_INFO_KIND = 1
_INFO_DATA = 2
_INFO_SLAVE_KIND = 4
_INFO_SLAVE_DATA = 5

_VLAN_ID = 1
_VLAN_PROTOCOL = 5
_BRIDGE_STP_STATE = 5
_BRIDGE_VLAN_FILTERING = 7
_VRF_TABLE = 1
_MACVLAN_MODE = 1
_IPVLAN_MODE = 1
_IPVLAN_FLAGS = 2
_VXLAN_ID = 1
_VXLAN_GROUP = 2
_VXLAN_LINK = 3
_VXLAN_LOCAL = 4
_VXLAN_LEARNING = 7
_VXLAN_PORT = 15
_VXLAN_GROUP6 = 16
_VXLAN_LOCAL6 = 17
_BOND_SLAVE_PERMANENT_ADDRESS = 4

_UP = int(LinkFlags.UP)
_DUMP_ATTEMPTS = 5


@attrs.frozen(kw_only=True)
class KernelLink:
    """A link, with what the kernel's message contains.

    `status` lacks the names of other links. `parent_is_elsewhere`: its link index belongs to another network namespace.
    """

    name: str
    status: LinkStatusSpec
    parent_is_elsewhere: bool = False


def is_of_kind(link: KernelLink, kind: str) -> bool:
    """Whether a link is of the kind that a spec names; userspace WireGuard shows as `tun`."""
    return link.status.kind == kind or (kind == "wireguard" and link.status.kind == "tun")


def _bond_master(options: Attributes) -> BondMaster:
    def of(number: int) -> int:
        return integer(options, number)

    def targets(number: int) -> tuple[str, ...]:
        return tuple(ip_address(target) for _, target in members(options.get(number, b"")))

    # Keys are the kernel's option numbers.
    return BondMaster(
        mode=BondMode.of(of(1)),
        miimon=of(3),
        updelay=of(4),
        downdelay=of(5),
        use_carrier=bool(of(6)),
        arp_interval=of(7),
        arp_ip_targets=targets(8),
        arp_validate=ARPValidate.of(of(9)),
        arp_all_targets=ARPAllTargets.of(of(10)),
        primary_index=of(11),
        primary_reselect=PrimaryReselect.of(of(12)),
        fail_over_mac=FailOverMAC.of(of(13)),
        xmit_hash_policy=XmitHashPolicy.of(of(14)),
        resend_igmp=of(15),
        num_peer_notif=of(16),
        all_slaves_active=of(17),
        min_links=of(18),
        lp_interval=of(19),
        packets_per_slave=of(20),
        lacp_rate=LACPRate.of(of(21)),
        ad_select=ADSelect.of(of(22)),
        ad_actor_sys_prio=of(24),
        ad_user_port_key=of(25),
        tlb_logical_lb=of(27),
        peer_notify_delay=of(28),
        # Sent by a kernel that does not know the option.
        ad_lacp_active=ADLACPActive.of(of(29)) if 29 in options else ADLACPActive.ON,
        missed_max=of(30),
        ns_ip6_targets=targets(31),
    )


def _of_kind(kind: str, options: Attributes) -> dict[str, Any]:
    """The fields of a status that only links of this kind have."""
    match kind:
        case "veth":
            return {"veth": Veth()}
        case "vlan" if options:
            protocol = VLANProtocol.of(int.from_bytes(options.get(_VLAN_PROTOCOL, b""), "big"))
            return {"vlan": VLAN(vlan_id=integer(options, _VLAN_ID), vlan_protocol=protocol)}
        case "bridge" if options:
            stp = STP(enabled=bool(integer(options, _BRIDGE_STP_STATE)))
            vlan = BridgeVLAN(filtering_enabled=bool(integer(options, _BRIDGE_VLAN_FILTERING)))
            return {"bridge_master": BridgeMaster(stp=stp, vlan=vlan)}
        case "bond" if options:
            return {"bond_master": _bond_master(options)}
        case "vrf" if options:
            return {"vrf_master": VRFMaster(table=RoutingTable.of(integer(options, _VRF_TABLE)))}
        case "macvlan" if options:
            return {"macvlan": MacVLAN(mode=MacvlanMode.of(integer(options, _MACVLAN_MODE)))}
        case "ipvlan" if options:
            mode, flags = integer(options, _IPVLAN_MODE), integer(options, _IPVLAN_FLAGS)
            return {"ipvlan": IPVLAN(mode=IPVLANMode.of(mode), flags=IPVLANFlags.of(flags))}
        case "vxlan" if options:
            # Its parent is among its options alone.
            return {"vxlan": _vxlan(options), "link_index": integer(options, _VXLAN_LINK)}
        case _:
            return {}


def _vxlan(options: Attributes) -> VXLAN:
    return VXLAN(
        id=integer(options, _VXLAN_ID),
        local=ip_address(options.get(_VXLAN_LOCAL, b"") or options.get(_VXLAN_LOCAL6, b"")),
        group=ip_address(options.get(_VXLAN_GROUP, b"") or options.get(_VXLAN_GROUP6, b"")),
        port=int.from_bytes(options.get(_VXLAN_PORT, b""), "big"),
        learning=bool(integer(options, _VXLAN_LEARNING)),
    )


def _permanent_address(attributes: Attributes, info: Attributes) -> bytes:
    """The hardware's address; for a link without one, such as a veth, its address before it joined a bond."""
    if _PERMANENT_ADDRESS in attributes or text(info, _INFO_SLAVE_KIND) != "bond":
        return attributes.get(_PERMANENT_ADDRESS, b"")
    return inside(info, _INFO_SLAVE_DATA).get(_BOND_SLAVE_PERMANENT_ADDRESS, b"")


def _index(message: Message) -> int:
    return message.fields[2]


def read_link(message: Message) -> KernelLink:
    """The link in a full RTM_NEWLINK message."""
    _, type, index, bits, _ = message.fields
    attributes = all_of(message)
    info = inside(attributes, _LINKINFO)
    kind = text(info, _INFO_KIND)
    of_kind = {"link_index": integer(attributes, _LINK), **_of_kind(kind, inside(info, _INFO_DATA))}
    status = LinkStatusSpec(
        alias=text(attributes, _IFALIAS),
        alt_names=_alternative_names(attributes),
        index=index,
        type=LinkType.of(type),
        flags=LinkFlags(bits),
        hardware_addr=attributes.get(_ADDRESS, b"").hex(":"),
        permanent_addr=_permanent_address(attributes, info).hex(":"),
        broadcast_addr=attributes.get(_BROADCAST, b"").hex(":"),
        mtu=integer(attributes, _MTU),
        queue_disc=text(attributes, _QDISC),
        master_index=integer(attributes, _MASTER),
        operational_state=OperationalState.of(integer(attributes, _OPERSTATE)),
        kind=kind,
        slave_kind=text(info, _INFO_SLAVE_KIND),
        link_state=bool(bits & _UP and integer(attributes, _CARRIER)),
        **of_kind,
    )
    return KernelLink(name=text(attributes, _IFNAME), status=status, parent_is_elsewhere=_LINK_NETNSID in attributes)


def _alternative_names(attributes: Attributes) -> tuple[str, ...]:
    return tuple(c_text(name) for number, name in members(attributes.get(_PROP_LIST, b"")) if number == _ALT_IFNAME)


def with_names(link: KernelLink, name_of: Callable[[int], str]) -> LinkStatusSpec:
    """The status with the names of the links it refers to; `name_of` returns "" for an unknown index."""
    status = link.status
    if status.veth is not None and status.link_index and not link.parent_is_elsewhere:
        return attrs.evolve(status, veth=Veth(peer_name=name_of(status.link_index)))
    if status.bond_master is not None and status.bond_master.primary_index:
        primary = name_of(status.bond_master.primary_index)
        return attrs.evolve(status, bond_master=attrs.evolve(status.bond_master, primary=primary))
    return status


def _is_veth_peer(link: KernelLink) -> bool:
    return link.status.veth is not None and not link.parent_is_elsewhere


class Links(ObjectKind[int, KernelLink]):
    """Links by index."""

    # Queueing disciplines have notifications of their own.
    groups: ClassVar[int] = rtnl.RTMGRP_LINK | rtnl.RTMGRP_TC

    def dump(self, kernel: RtnlSocket) -> Iterable[Message]:
        """All links; blocks."""
        return kernel.dump_links()

    def collect(self, messages: Iterable[Message]) -> dict[int, KernelLink]:
        """The links by index."""
        return {_index(message): read_link(message) for message in messages}

    def reread(self, kernel: RtnlSocket, key: int) -> KernelLink | None:
        """One link, None if the index is unknown; blocks."""
        message = kernel.link(key)
        return None if message is None else read_link(message)

    def fold(self, items: Mapping[int, KernelLink], message: Message) -> Effect[int, KernelLink]:
        """A link's own message replaces it; one about its port, wireless part or queues causes a new read."""
        match message.type:
            case rtnl.RTM_NEWQDISC | rtnl.RTM_DELQDISC:
                return Effect(reread=frozenset(items.keys() & {message.fields[1]}))
            case rtnl.RTM_NEWLINK | rtnl.RTM_DELLINK if message.family != AF_UNSPEC:
                return Effect(reread=frozenset({_index(message)}))
            case rtnl.RTM_DELLINK:
                return Effect(changes={_index(message): None})
            case rtnl.RTM_NEWLINK if _MTU not in message.attributes:
                return Effect(reread=frozenset({_index(message)}))
            case rtnl.RTM_NEWLINK:
                link = read_link(message)
                index = link.status.index
                changes = {**_peer_that_does_not_know(items, link), index: link}
                return Effect(changes=changes, announced=frozenset({index}))
            case _:
                return Effect()

    def described(self, message: Message) -> int | None:
        """The link that a message of its own describes."""
        is_of_link = message.type == rtnl.RTM_NEWLINK and message.family == AF_UNSPEC
        return _index(message) if is_of_link else None


def _peer_that_does_not_know(items: Mapping[int, KernelLink], link: KernelLink) -> dict[int, KernelLink]:
    """The first half of a veth pair is notified before the second exists, and not again afterwards.

    A pair stays one as long as it exists, so what the second says of the first is all that the first lacks.
    """
    if not _is_veth_peer(link):
        return {}
    peer = items.get(link.status.link_index)
    if peer is None or not _is_veth_peer(peer) or peer.status.link_index == link.status.index:
        return {}
    return {peer.status.index: attrs.evolve(peer, status=attrs.evolve(peer.status, link_index=link.status.index))}


_WITHOUT_QUEUES = operator.attrgetter(
    *(field.name for field in attrs.fields(LinkStatusSpec) if field.name != "queue_disc")
)


def _same_but_for_queues(before: KernelLink, after: KernelLink) -> bool:
    if before.status.queue_disc == after.status.queue_disc:
        return before == after
    return (before.name, before.parent_is_elsewhere, _WITHOUT_QUEUES(before.status)) == (
        *(after.name, after.parent_is_elsewhere),
        _WITHOUT_QUEUES(after.status),
    )


# What the kernel and the other end say of a link; the flags that a setting decides are others.
_CARRIER_FLAGS = int(LinkFlags.RUNNING | LinkFlags.LOWER_UP | LinkFlags.DORMANT)
_SETTINGS = operator.attrgetter(
    *(
        field.name
        for field in attrs.fields(LinkStatusSpec)
        if field.name not in ("queue_disc", "operational_state", "link_state", "flags")
    )
)


def _set_the_same(before: KernelLink, after: KernelLink) -> bool:
    return (
        before.name == after.name
        and not (int(before.status.flags) ^ int(after.status.flags)) & ~_CARRIER_FLAGS
        and before.parent_is_elsewhere == after.parent_is_elsewhere
        and _SETTINGS(before.status) == _SETTINGS(after.status)
    )


def _bears_the_same(before: KernelLink, after: KernelLink) -> bool:
    one, other = before.status, after.status
    return (
        before.name == after.name
        and not (int(one.flags) ^ int(other.flags)) & _UP
        and (one.mtu, one.master_index, one.alias, one.alt_names)
        == (other.mtu, other.master_index, other.alias, other.alt_names)
    )


def _same_name(before: KernelLink, after: KernelLink) -> bool:
    return before.name == after.name


# Everything, and each notification: what only the driver reports in full looks the same here, as when a bond changes
# its active member.
WHOLE_LINKS: Aspect[KernelLink] = Aspect(announced=True)
# For the appliers, which queueing disciplines do not concern.
LINKS_WITHOUT_QUEUES: Aspect[KernelLink] = Aspect(same=_same_but_for_queues)
# For the applier of links, which neither carriers nor queueing disciplines concern.
LINK_SETTINGS: Aspect[KernelLink] = Aspect(same=_set_the_same)
# For the appliers of what is on links: all names, whether it is up, its MTU and master decide what the kernel accepts.
BEARERS: Aspect[KernelLink] = Aspect(same=_bears_the_same)
# For objects that refer to links by index.
LINK_NAMES: Aspect[KernelLink] = Aspect(same=_same_name)


def list_links(kernel: RtnlSocket) -> dict[int, KernelLink]:
    """The kernel's current links; blocks."""
    kind = Links()
    for _ in range(_DUMP_ATTEMPTS):
        kernel.interrupted = False
        links = kind.collect(kind.dump(kernel))
        if not kernel.interrupted:
            break
    return links
