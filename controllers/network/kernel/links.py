"""Links as rtnetlink describes them.

A link's message says which other links it depends on only by number; their names are filled in by `with_names`.

Not notified, and so found by the next dump: changes to a link that is down, other than its flags and master (alias,
alternative names, options of a bridge or bond).
"""

from collections.abc import Callable, Iterable, Mapping
from socket import AF_INET, AF_INET6, inet_ntop
from typing import Any, ClassVar

import attrs
from pyroute2.netlink import rtnl
from pyroute2.netlink.exceptions import NetlinkError

from controllers.network.kernel.mirror import Effect, Kind
from controllers.network.kernel.rtnetlink import AF_UNSPEC, ENODEV, Kernel, Message, hardware_address, number, raw, text
from resources.network.enums import (
    ADLACPActive,
    ADSelect,
    ARPAllTargets,
    ARPValidate,
    BondMode,
    FailOverMAC,
    LACPRate,
    LinkFlags,
    LinkType,
    OperationalState,
    PrimaryReselect,
    RoutingTable,
    VLANProtocol,
    XmitHashPolicy,
)
from resources.network.link import STP, VLAN, BondMaster, BridgeMaster, BridgeVLAN, LinkStatusSpec, Veth, VRFMaster


@attrs.frozen(kw_only=True)
class KernelLink:
    """A link, as far as the kernel's message about it goes.

    `status` lacks the names of other links. `parent_is_elsewhere`: its link index counts in another network namespace.
    """

    name: str
    status: LinkStatusSpec
    parent_is_elsewhere: bool = False


def _bond_master(options: Message) -> BondMaster:
    def choice(table: Any, name: str) -> Any:
        return table.of(number(options, f"IFLA_BOND_{name}"))

    def count(name: str) -> int:
        return number(options, f"IFLA_BOND_{name}")

    return BondMaster(
        mode=choice(BondMode, "MODE"),
        xmit_hash_policy=choice(XmitHashPolicy, "XMIT_HASH_POLICY"),
        lacp_rate=choice(LACPRate, "AD_LACP_RATE"),
        arp_validate=choice(ARPValidate, "ARP_VALIDATE"),
        arp_all_targets=choice(ARPAllTargets, "ARP_ALL_TARGETS"),
        primary_index=count("PRIMARY"),
        primary_reselect=choice(PrimaryReselect, "PRIMARY_RESELECT"),
        fail_over_mac=choice(FailOverMAC, "FAIL_OVER_MAC"),
        ad_select=choice(ADSelect, "AD_SELECT"),
        miimon=count("MIIMON"),
        updelay=count("UPDELAY"),
        downdelay=count("DOWNDELAY"),
        arp_interval=count("ARP_INTERVAL"),
        resend_igmp=count("RESEND_IGMP"),
        min_links=count("MIN_LINKS"),
        lp_interval=count("LP_INTERVAL"),
        packets_per_slave=count("PACKETS_PER_SLAVE"),
        num_peer_notif=count("NUM_PEER_NOTIF"),
        tlb_logical_lb=count("TLB_DYNAMIC_LB"),
        all_slaves_active=count("ALL_SLAVES_ACTIVE"),
        use_carrier=bool(count("USE_CARRIER")),
        ad_actor_sys_prio=count("AD_ACTOR_SYS_PRIO"),
        ad_user_port_key=count("AD_USER_PORT_KEY"),
        peer_notify_delay=count("PEER_NOTIF_DELAY"),
        arp_ip_targets=_targets(raw(options, "IFLA_BOND_ARP_IP_TARGET"), AF_INET, 4),
        ns_ip6_targets=_targets(raw(options, "IFLA_BOND_NS_IP6_TARGET"), AF_INET6, 16),
        ad_lacp_active=choice(ADLACPActive, "AD_LACP_ACTIVE"),
        missed_max=count("MISSED_MAX"),
    )


def _targets(nest: bytes, family: int, width: int) -> tuple[str, ...]:
    # Attributes numbered by slot: a header of 4 bytes and an address each.
    size = 4 + width
    return tuple(inet_ntop(family, nest[end - width : end]) for end in range(size, len(nest) + 1, size))


def _of_kind(kind: str, options: Message | None) -> dict[str, Any]:
    """The fields of a status that only links of this kind have."""
    match kind:
        case "veth":
            return {"veth": Veth()}
        case "vlan" if options is not None:
            protocol = VLANProtocol.of(number(options, "IFLA_VLAN_PROTOCOL"))
            return {"vlan": VLAN(vlan_id=number(options, "IFLA_VLAN_ID"), vlan_protocol=protocol)}
        case "bridge" if options is not None:
            stp = STP(enabled=bool(number(options, "IFLA_BR_STP_STATE")))
            vlan = BridgeVLAN(filtering_enabled=bool(number(options, "IFLA_BR_VLAN_FILTERING")))
            return {"bridge_master": BridgeMaster(stp=stp, vlan=vlan)}
        case "bond" if options is not None:
            return {"bond_master": _bond_master(options)}
        case "vrf" if options is not None:
            return {"vrf_master": VRFMaster(table=RoutingTable.of(number(options, "IFLA_VRF_TABLE")))}
        case _:
            return {}


def read_link(message: Message) -> KernelLink:
    """The link that a full RTM_NEWLINK message describes."""
    info = message.get_attr("IFLA_LINKINFO")
    kind = "" if info is None else text(info, "IFLA_INFO_KIND")
    properties = message.get_attr("IFLA_PROP_LIST")
    flags = LinkFlags(message["flags"])
    status = LinkStatusSpec(
        alias=text(message, "IFLA_IFALIAS"),
        alt_names=() if properties is None else tuple(properties.get_attrs("IFLA_ALT_IFNAME")),
        index=message["index"],
        type=LinkType.of(message["ifi_type"]),
        link_index=number(message, "IFLA_LINK"),
        flags=flags,
        hardware_addr=hardware_address(message, "IFLA_ADDRESS"),
        broadcast_addr=hardware_address(message, "IFLA_BROADCAST"),
        mtu=number(message, "IFLA_MTU"),
        queue_disc=text(message, "IFLA_QDISC"),
        master_index=number(message, "IFLA_MASTER"),
        operational_state=OperationalState.of(int.from_bytes(raw(message, "IFLA_OPERSTATE"))),
        kind=kind,
        slave_kind="" if info is None else text(info, "IFLA_INFO_SLAVE_KIND"),
        link_state=LinkFlags.UP in flags and bool(number(message, "IFLA_CARRIER")),
        **_of_kind(kind, None if info is None else info.get_attr("IFLA_INFO_DATA")),
    )
    return KernelLink(
        name=text(message, "IFLA_IFNAME"),
        status=status,
        parent_is_elsewhere=message.get_attr("IFLA_LINK_NETNSID") is not None,
    )


def with_names(link: KernelLink, name_of: Callable[[int], str]) -> LinkStatusSpec:
    """The status with the names of the links it refers to; `name_of` gives "" for an index it does not know."""
    status = link.status
    if status.veth is not None and status.link_index and not link.parent_is_elsewhere:
        return attrs.evolve(status, veth=Veth(peer_name=name_of(status.link_index)))
    if status.bond_master is not None and status.bond_master.primary_index:
        primary = name_of(status.bond_master.primary_index)
        return attrs.evolve(status, bond_master=attrs.evolve(status.bond_master, primary=primary))
    return status


def _is_veth_peer(link: KernelLink) -> bool:
    return link.status.veth is not None and not link.parent_is_elsewhere


class Links(Kind[int, KernelLink]):
    """Links by index."""

    # Queueing disciplines are announced apart from the links that carry them.
    groups: ClassVar[int] = rtnl.RTMGRP_LINK | rtnl.RTMGRP_TC

    def dump(self, kernel: Kernel) -> Iterable[Message]:
        """All links; blocks."""
        return kernel.link("dump")

    def collect(self, messages: Iterable[Message]) -> dict[int, KernelLink]:
        """The links by index."""
        return {message["index"]: read_link(message) for message in messages}

    def reread(self, kernel: Kernel, key: int) -> KernelLink | None:
        """One link, None if there is none of this index; blocks."""
        try:
            messages = list(kernel.link("get", index=key))
        except NetlinkError as error:
            if error.code != ENODEV:
                raise
            return None
        return read_link(messages[0])

    def fold(self, items: Mapping[int, KernelLink], message: Message) -> Effect[int, KernelLink]:
        """A link's own message replaces it; one about its port, its wireless part or its queues makes it read again."""
        match message["header"]["type"]:
            case rtnl.RTM_NEWQDISC | rtnl.RTM_DELQDISC:
                return Effect(reread=frozenset(items.keys() & {message["index"]}))
            case rtnl.RTM_NEWLINK | rtnl.RTM_DELLINK if message["family"] != AF_UNSPEC:
                return Effect(reread=frozenset({message["index"]}))
            case rtnl.RTM_DELLINK:
                return Effect(changes={message["index"]: None})
            case rtnl.RTM_NEWLINK if message.get_attr("IFLA_MTU") is None:
                return Effect(reread=frozenset({message["index"]}))
            case rtnl.RTM_NEWLINK:
                link = read_link(message)
                return Effect(changes={link.status.index: link}, reread=_peer_that_does_not_know(items, link))
            case _:
                return Effect()


def _peer_that_does_not_know(items: Mapping[int, KernelLink], link: KernelLink) -> frozenset[int]:
    """The first half of a veth pair is announced before the second exists, and not again when it does."""
    peer = items.get(link.status.link_index)
    if peer is None or not _is_veth_peer(link) or not _is_veth_peer(peer):
        return frozenset()
    return frozenset() if peer.status.link_index == link.status.index else frozenset({peer.status.index})


class LinkNames(Kind[int, str]):
    """The names of links by index, for whoever shows objects that the kernel ties to links by index."""

    groups: ClassVar[int] = rtnl.RTMGRP_LINK

    def dump(self, kernel: Kernel) -> Iterable[Message]:
        """All links; blocks."""
        return kernel.link("dump")

    def collect(self, messages: Iterable[Message]) -> dict[int, str]:
        """The names by index."""
        return {message["index"]: text(message, "IFLA_IFNAME") for message in messages}

    def fold(self, items: Mapping[int, str], message: Message) -> Effect[int, str]:  # noqa: ARG002
        """Messages about ports say nothing about names."""
        if message["family"] != AF_UNSPEC:
            return Effect()
        gone = message["header"]["type"] == rtnl.RTM_DELLINK
        return Effect(changes={message["index"]: None if gone else text(message, "IFLA_IFNAME")})
