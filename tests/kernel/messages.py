"""Messages as the kernel sends them: encoded by pyroute2, and parsed by what the mirrors parse with."""

from collections.abc import Mapping, Sequence
from typing import Any

from pyroute2.netlink import rtnl
from pyroute2.netlink.generic.wireguard import wgmsg
from pyroute2.netlink.rtnl.fibmsg import fibmsg
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.ifinfmsg.plugins.bond import bond
from pyroute2.netlink.rtnl.rtmsg import rtmsg
from pyroute2.netlink.rtnl.tcmsg import tcmsg

from nodespan.kernel.rtnetlink import Message, parse

Attributes = Sequence[tuple[str, Any]]

_BOND_OPTIONS: tuple[Any, ...] = bond.nla_map
_LINK_INFO: Any = ifinfmsg.ifinfo


class _Bond(bond):
    # With the options that are newer than pyroute2's list.
    nla_map: tuple[Any, ...] = (
        *_BOND_OPTIONS,
        ("IFLA_BOND_PEER_NOTIF_DELAY", "uint32"),
        ("IFLA_BOND_AD_LACP_ACTIVE", "uint8"),
        ("IFLA_BOND_MISSED_MAX", "uint8"),
    )


_LINK_INFO.register_link_kind(module={"bond": _Bond})


def _encoded(kind: Any, type: int, flags: int, fields: Mapping[str, Any], attributes: Attributes) -> bytes:
    message = kind()
    message.update(fields)
    message["header"]["type"] = type
    message["header"]["flags"] = flags
    message["attrs"] = list(attributes)
    message.encode()
    return bytes(message.data)


def _parsed(kind: Any, type: int, flags: int, fields: Mapping[str, Any], attributes: Attributes) -> Message:
    (message,) = parse(_encoded(kind, type, flags, fields, attributes))
    return message


def nest(*attributes: tuple[str, Any]) -> dict[str, Any]:
    """A nest of attributes."""
    return {"attrs": list(attributes)}


def link(*attributes: tuple[str, Any], gone: bool = False, family: int = 0, **fields: Any) -> Message:
    """A message about a link; an MTU makes it a full one, so it has one unless `partial` is said."""
    partial = fields.pop("partial", False)
    type = rtnl.RTM_DELLINK if gone else rtnl.RTM_NEWLINK
    fields = {"index": 7, "ifi_type": 1, "family": family, **fields}
    mtu = () if partial else (("IFLA_MTU", 1500),)
    return _parsed(ifinfmsg, type, 0, fields, (*mtu, *attributes))


def queue(index: int) -> Message:
    """A message about the queueing discipline of a link."""
    return _parsed(tcmsg, rtnl.RTM_NEWQDISC, 0, {"index": index}, (("TCA_KIND", "tbf"),))


def address(*attributes: tuple[str, Any], gone: bool = False, **fields: Any) -> Message:
    """A message about an address."""
    type = rtnl.RTM_DELADDR if gone else rtnl.RTM_NEWADDR
    return _parsed(ifaddrmsg, type, 0, {"index": 7, "family": 2, **fields}, attributes)


def route(*attributes: tuple[str, Any], gone: bool = False, replace: bool = False, **fields: Any) -> Message:
    """A message about a route of the main table."""
    type = rtnl.RTM_DELROUTE if gone else rtnl.RTM_NEWROUTE
    fields = {"family": 2, "table": 254, "proto": 4, "type": 1, **fields}
    return _parsed(rtmsg, type, 0x100 if replace else 0, fields, attributes)


def rule(*attributes: tuple[str, Any], **fields: Any) -> Message:
    """A message about a routing rule."""
    return _parsed(fibmsg, rtnl.RTM_NEWRULE, 0, {"family": 2, "table": 254, "action": 1, **fields}, attributes)


def wireguard(*attributes: tuple[str, Any]) -> bytes:
    """A part of the answer about a WireGuard device."""
    return _encoded(wgmsg, 30, 0, {"cmd": 0, "version": 1}, attributes)
