"""The fields of a link, by the names and with the types that they have in the originals' messages."""

import ipaddress
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs

from nodespan.controllers.common.cel.values import (
    BOOL,
    BYTES,
    DURATION,
    INT,
    STRING,
    UINT,
    Duration,
    Message,
    Type,
    UInt,
    list_of,
)
from nodespan.resources.network import LinkStatusSpec

_MICROSECOND: Final = 1000


@attrs.frozen
class Field:
    """A field: its type, and how it is read from what the message stands for; that is None for an unset message."""

    type: Type
    read: Callable[[Any], Any]


def message(name: str) -> Type:
    """The type of messages of this name."""
    return Type(f"message {name}")


LINK: Final = message("link")


def _uint(attribute: str) -> Field:
    return Field(UINT, lambda content: UInt(0 if content is None else getattr(content, attribute)))


def _int(attribute: str) -> Field:
    """A whole number, or a choice by its number."""

    def read(content: Any) -> int:
        value = 0 if content is None else getattr(content, attribute)
        return int(getattr(value, "number", value))

    return Field(INT, read)


def _string(attribute: str) -> Field:
    return Field(STRING, lambda content: "" if content is None else getattr(content, attribute))


def _bool(attribute: str) -> Field:
    return Field(BOOL, lambda content: content is not None and bool(getattr(content, attribute)))


def _mac(read: Callable[[LinkStatusSpec], str]) -> Field:
    return Field(BYTES, lambda link: bytes.fromhex(read(link).replace(":", "")))


def _inner(name: str, attribute: str) -> Field:
    return Field(message(name), lambda content: Message(name, None if content is None else getattr(content, attribute)))


def _many(name: str, attribute: str) -> Field:
    """A list of messages."""
    return Field(
        list_of(message(name)),
        lambda content: tuple(Message(name, item) for item in (() if content is None else getattr(content, attribute))),
    )


def _own_address(link: LinkStatusSpec) -> str:
    """The hardware address; that of a member of a bond is its permanent one, for the current one is the bond's."""
    return link.permanent_addr if link.slave_kind == "bond" and link.permanent_addr else link.hardware_addr


def _interface(text: str | None) -> ipaddress.IPv4Interface | ipaddress.IPv6Interface | None:
    return ipaddress.ip_interface(text) if text else None


def _packed(text: str | None) -> bytes:
    parsed = _interface(text)
    return b"" if parsed is None else parsed.ip.packed


def _prefix_length(text: str | None) -> int:
    parsed = _interface(text)
    return 0 if parsed is None else parsed.network.prefixlen


def _keepalive(peer: Any) -> Duration:
    interval = None if peer is None else peer.persistent_keepalive_interval
    return Duration(0 if interval is None else round(interval.total_seconds() * 10**6) * _MICROSECOND)


_BOND_INTS = {
    **{name: name for name in ("mode", "lacp_rate", "arp_validate", "arp_all_targets", "primary_reselect")},
    "hash_policy": "xmit_hash_policy",
    "adlacp_active": "ad_lacp_active",
    **{name: name for name in ("fail_over_mac", "ad_select")},
}
_BOND_UINTS = {
    **{name: name for name in ("primary_index", "arp_interval", "resend_igmp", "min_links", "lp_interval")},
    **{name: name for name in ("packets_per_slave", "num_peer_notif", "all_slaves_active", "ad_actor_sys_prio")},
    **{name: name for name in ("ad_user_port_key", "peer_notify_delay", "missed_max")},
    "mii_mon": "miimon",
    "up_delay": "updelay",
    "down_delay": "downdelay",
    "tlb_dynamic_lb": "tlb_logical_lb",
}
_TEXTS = (
    *("alias", "queue_disc", "kind", "slave_kind", "bus_path", "driver", "driver_version", "firmware_version"),
    *("product_id", "vendor_id", "product", "vendor"),
)

# By the names of the messages.
MESSAGES: Final[Mapping[str, Mapping[str, Field]]] = {
    "link": {
        **{name: _string(name) for name in _TEXTS},
        **{name: _uint(name) for name in ("index", "link_index", "mtu", "master_index")},
        **{name: _int(name) for name in ("type", "operational_state", "port", "duplex")},
        "flags": Field(UINT, lambda link: UInt(int(link.flags))),
        "pciid": _string("pci_id"),
        "speed_megabits": _int("speed_mbit"),
        "link_state": _bool("link_state"),
        "alt_names": Field(list_of(STRING), lambda link: tuple(link.alt_names)),
        "hardware_addr": _mac(_own_address),
        "broadcast_addr": _mac(lambda link: link.broadcast_addr),
        "permanent_addr": _mac(lambda link: link.permanent_addr),
        **{
            name: _inner(name, name)
            for name in ("vlan", "bridge_master", "bond_master", "vrf_master", "veth", "wireguard")
        },
    },
    "vlan": {"vid": _uint("vlan_id"), "protocol": _int("vlan_protocol")},
    "bridge_master": {"stp": _inner("stp", "stp"), "vlan": _inner("bridge_vlan", "vlan")},
    "stp": {"enabled": _bool("enabled")},
    "bridge_vlan": {"filtering_enabled": _bool("filtering_enabled")},
    "bond_master": {
        **{name: _int(attribute) for name, attribute in _BOND_INTS.items()},
        **{name: _uint(attribute) for name, attribute in _BOND_UINTS.items()},
        "use_carrier": _bool("use_carrier"),
        "primary": _string("primary"),
        "arpip_targets": _many("ip", "arp_ip_targets"),
        "nsip6_targets": _many("ip", "ns_ip6_targets"),
    },
    "vrf_master": {"table": _int("table")},
    "veth": {"peer_name": _string("peer_name")},
    "wireguard": {
        # Never read from a device.
        "private_key": Field(STRING, lambda _: ""),
        "public_key": _string("public_key"),
        "listen_port": _int("listen_port"),
        "firewall_mark": _int("firewall_mark"),
        "peers": _many("peer", "peers"),
    },
    "peer": {
        "public_key": _string("public_key"),
        "preshared_key": Field(STRING, lambda _: ""),
        "endpoint": _string("endpoint"),
        "persistent_keepalive_interval": Field(DURATION, _keepalive),
        "allowed_ips": _many("prefix", "allowed_ips"),
    },
    # The content of these two is the text.
    "ip": {"ip": Field(BYTES, _packed)},
    "prefix": {"ip": Field(BYTES, _packed), "prefix_length": Field(INT, _prefix_length)},
}


def fields_of(type: Type) -> Mapping[str, Field] | None:
    """The fields of values of this type, None if it has none."""
    return MESSAGES.get(type.name.removeprefix("message ")) if type.name.startswith("message ") else None


def is_present(value: Any) -> bool:
    """Whether `has` finds a field set: a message that is there, a value that does not stand for nothing."""
    if isinstance(value, Message):
        return value.content is not None
    return value not in ("", b"", 0, False, (), Duration(0))
