"""Creates, changes and deletes links over rtnetlink."""

import errno
from collections.abc import Callable, Iterable, Mapping

import attrs

from nodespan.kernel import rtnl
from nodespan.kernel.changes.bond_options import BondValue, encode
from nodespan.kernel.prefixes import pack_ip
from nodespan.kernel.refusals import explained, link_refusal, name_and_mtu
from nodespan.kernel.rtnetlink import (
    AF_UNSPEC,
    Request,
    RtnlSocket,
    attribute,
    nest,
    number8,
    number16,
    number32,
    zero_terminated,
)
from nodespan.kernel.rtnl import NLM_F_CREATE, NLM_F_EXCL
from nodespan.resources.network.enums import LinkFlags
from nodespan.resources.network.link_spec import LinkSpecSpec

_ADDRESS = 1
_IFNAME = 3
_MTU = 4
_LINK = 5
_MASTER = 10
_LINKINFO = 18

_INFO_KIND = 1
_INFO_DATA = 2

_VLAN_ID = 1
_VLAN_PROTOCOL = 5
_BRIDGE_STP_STATE = 5
_BRIDGE_VLAN_FILTERING = 7
_VRF_TABLE = 1
_VETH_PEER = 1
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

_ANY_TYPE = 0

_SETTINGS = {
    "up": "state",
    "multicast": "multicast setting",
    "mtu": "MTU",
    "hardware_addr": "hardware address",
    "master": "master",
    "stp": "STP setting",
    "vlan_filtering": "VLAN filtering",
    "bond": "bond options",
}

# Refusals to create a link that do not depend on its settings.
_SAME_FOR_ANY = frozenset({errno.EEXIST, errno.EOPNOTSUPP, errno.EPERM})


@attrs.frozen(kw_only=True)
class LinkChange:
    """The changes to a link; None leaves a setting. `master` is an index, 0 for none; `bond` has options by field."""

    index: int
    up: bool | None = None
    multicast: bool | None = None
    mtu: int | None = None
    hardware_addr: str | None = None
    master: int | None = None
    stp: bool | None = None
    vlan_filtering: bool | None = None
    bond: tuple[tuple[str, BondValue], ...] = ()

    def __bool__(self) -> bool:
        return self != LinkChange(index=self.index)

    def apart(self) -> tuple["LinkChange", ...]:
        """The same change, split into single settings."""
        differing = (
            (field.name, getattr(self, field.name))
            for field in attrs.fields(LinkChange)
            if field.name != "index" and getattr(self, field.name) != field.default
        )
        return tuple(LinkChange(index=self.index, **{name: value}) for name, value in differing)


def _bridge(stp: bool | None, vlan_filtering: bool | None) -> tuple[bytes, ...]:
    options = () if stp is None else (number32(_BRIDGE_STP_STATE, stp),)
    return options if vlan_filtering is None else (*options, number8(_BRIDGE_VLAN_FILTERING, vlan_filtering))


def _bridge_of(spec: LinkSpecSpec) -> tuple[bytes, ...]:
    if spec.bridge_master is None:
        return ()
    # Off is the default, and a kernel without VLAN filtering refuses the attribute.
    return _bridge(spec.bridge_master.stp.enabled or None, spec.bridge_master.vlan.filtering_enabled or None)


def _vlan_of(spec: LinkSpecSpec) -> tuple[bytes, ...]:
    if spec.vlan is None:
        return ()
    protocol = spec.vlan.vlan_protocol.number.to_bytes(2, "big")
    return (number16(_VLAN_ID, spec.vlan.vlan_id), attribute(_VLAN_PROTOCOL, protocol))


def _veth_of(spec: LinkSpecSpec) -> tuple[bytes, ...]:
    if spec.veth is None or not spec.veth.peer_name:
        return ()
    # The other end is described by a complete nested message.
    return (attribute(_VETH_PEER, bytes(16) + zero_terminated(_IFNAME, spec.veth.peer_name)),)


def _vrf_of(spec: LinkSpecSpec) -> tuple[bytes, ...]:
    return () if spec.vrf_master is None else (number32(_VRF_TABLE, spec.vrf_master.table.number),)


def _macvlan_of(spec: LinkSpecSpec) -> tuple[bytes, ...]:
    return () if spec.macvlan is None else (number32(_MACVLAN_MODE, spec.macvlan.mode.number),)


def _ipvlan_of(spec: LinkSpecSpec) -> tuple[bytes, ...]:
    if spec.ipvlan is None:
        return ()
    flags = spec.ipvlan.flags.number
    # A kernel without flags (< 4.15) refuses the attribute.
    return (
        number16(_IPVLAN_MODE, spec.ipvlan.mode.number),
        *(() if not flags else (number16(_IPVLAN_FLAGS, flags),)),
    )


def _vxlan_of(spec: LinkSpecSpec) -> tuple[bytes, ...]:
    if spec.vxlan is None:
        return ()
    vxlan = spec.vxlan.as_reported
    return (
        number32(_VXLAN_ID, vxlan.id),
        *_ip_option(vxlan.local, _VXLAN_LOCAL, _VXLAN_LOCAL6),
        *_ip_option(vxlan.group, _VXLAN_GROUP, _VXLAN_GROUP6),
        # Always: the kernel's own default is the port from before there was a standard.
        attribute(_VXLAN_PORT, vxlan.port.to_bytes(2, "big")),
        number8(_VXLAN_LEARNING, vxlan.learning),
    )


def _ip_option(address: str, ipv4: int, ipv6: int) -> tuple[bytes, ...]:
    if not address:
        return ()
    packed = pack_ip(address)
    return (attribute(ipv4 if len(packed) == 4 else ipv6, packed),)


def _nothing(_spec: LinkSpecSpec) -> tuple[bytes, ...]:
    return ()


# The attributes at creation by kind, for a bond beside its options. Other kinds cannot be created.
_OPTIONS: Mapping[str, Callable[[LinkSpecSpec], tuple[bytes, ...]]] = {
    "bond": _nothing,
    "bridge": _bridge_of,
    "dummy": _nothing,
    "ipvlan": _ipvlan_of,
    "macvlan": _macvlan_of,
    "veth": _veth_of,
    "vlan": _vlan_of,
    "vrf": _vrf_of,
    "vxlan": _vxlan_of,
    "wireguard": _nothing,
}
CREATABLE = frozenset(_OPTIONS)
# Kinds whose parent is not free for links that take its packets in another way.
_SHARING = frozenset({"ipvlan", "macvlan"})


def creation_request(
    spec: LinkSpecSpec, parent_index: int, bond: Iterable[tuple[str, BondValue]] = (), *, whole: bool = True
) -> Request:
    """The request that makes a logical link; `whole`: with its MTU, and up if requested."""
    options = (*_OPTIONS[spec.kind](spec), *(encode(field, value) for field, value in bond))
    # A VXLAN has its parent among its options: it sends packets over it, and is not made of its frames.
    is_over = spec.kind == "vxlan"
    if parent_index and is_over:
        options = (*options, number32(_VXLAN_LINK, parent_index))
    info = nest(_LINKINFO, attribute(_INFO_KIND, spec.kind.encode()), nest(_INFO_DATA, *options) if options else b"")
    attributes = [zero_terminated(_IFNAME, spec.name), info]
    if parent_index and not is_over:
        attributes.append(number32(_LINK, parent_index))
    if spec.hardware_addr:
        attributes.append(_hardware_address(spec.hardware_addr))
    # WireGuard gets its settings, and a member of a bond its master, before it comes up.
    whole = whole and spec.wireguard is None and not spec.master_name
    if whole and spec.mtu:
        attributes.append(number32(_MTU, spec.mtu))
    up = LinkFlags.UP if whole and spec.up else LinkFlags(0)
    fields = (AF_UNSPEC, _ANY_TYPE, 0, up, up)
    return Request(rtnl.RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, fields, tuple(attributes))


def create_link(
    kernel: RtnlSocket, spec: LinkSpecSpec, parent_index: int, bond: Iterable[tuple[str, BondValue]] = ()
) -> None:
    """Create a logical link, with its MTU, and up if requested. Raises OSError.

    EOPNOTSUPP if the kernel lacks the kind, EEXIST. If some of it fails, as for a link that cannot come up
    because its parent is down, the link is created all the same, down.
    """
    try:
        _create(kernel, spec, parent_index, bond, whole=True)
    except OSError as error:
        if error.errno in _SAME_FOR_ANY:
            raise
        _create(kernel, spec, parent_index, bond, whole=False)


def _create(
    kernel: RtnlSocket, spec: LinkSpecSpec, parent_index: int, bond: Iterable[tuple[str, BondValue]], *, whole: bool
) -> None:
    what, address = f"the {spec.kind} link {spec.name} cannot be made", spec.hardware_addr
    below = spec.parent_name if spec.kind in _SHARING else ""
    with explained(lambda number: link_refusal(number, what, hardware_addr=address, mtu=spec.mtu, shared=below)):
        kernel.request(creation_request(spec, parent_index, bond, whole=whole))


def change_link(kernel: RtnlSocket, change: LinkChange) -> None:
    """Change a link. Raises OSError."""
    flags = mask = 0
    for flag, value in ((LinkFlags.UP, change.up), (LinkFlags.MULTICAST, change.multicast)):
        if value is not None:
            mask |= flag
            flags |= flag if value else 0
    attributes: list[bytes] = []
    if change.mtu is not None:
        attributes.append(number32(_MTU, change.mtu))
    if change.hardware_addr is not None:
        attributes.append(_hardware_address(change.hardware_addr))
    if change.master is not None:
        attributes.append(number32(_MASTER, change.master))
    if change.stp is not None or change.vlan_filtering is not None:
        data = nest(_INFO_DATA, *_bridge(change.stp, change.vlan_filtering))
        attributes.append(nest(_LINKINFO, attribute(_INFO_KIND, b"bridge"), data))
    if change.bond:
        data = nest(_INFO_DATA, *(encode(field, value) for field, value in change.bond))
        attributes.append(nest(_LINKINFO, attribute(_INFO_KIND, b"bond"), data))
    with explained(lambda number: _why_not(kernel, change, number)):
        kernel.change(rtnl.RTM_NEWLINK, 0, (AF_UNSPEC, _ANY_TYPE, change.index, flags, mask), *attributes)


def _why_not(kernel: RtnlSocket, change: LinkChange, number: int) -> str:
    link, _ = name_and_mtu(kernel, change.index)
    parts = [name for name, value in attrs.asdict(change).items() if name != "index" and value not in (None, ())]
    what = f"{link} does not take its {' and '.join(_SETTINGS[part] for part in parts)}"
    return link_refusal(number, what, hardware_addr=change.hardware_addr or "", mtu=change.mtu or 0)


def delete_link(kernel: RtnlSocket, index: int) -> None:
    """Delete a link. Raises OSError: ENODEV if it does not exist."""
    kernel.change(rtnl.RTM_DELLINK, 0, (AF_UNSPEC, _ANY_TYPE, index, 0, 0))


def _hardware_address(text: str) -> bytes:
    return attribute(_ADDRESS, bytes.fromhex(text.replace(":", "")))
