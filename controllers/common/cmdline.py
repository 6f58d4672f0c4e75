"""The network settings of the kernel command line: `ip=`, `bond=`, `vlan=` and `talos.*`.

The line is split at whitespace and each word at its first `=`; keys may be repeated, there is no quoting. An error in
one setting discards all of them, except for the links that are excluded from defaults, and for links with
DHCP that come before the error.
"""

import ipaddress
import re
from collections.abc import Iterator, Mapping

import attrs

from nodespan.controllers.common.link_settings.bond_defaults import bond_master
from nodespan.controllers.common.link_settings.vlan_name import vlan_link_name
from nodespan.resources.network import BondMaster, enums

_HIGHEST_VLAN = 4095
_DEFAULT_BOND_MEMBERS = ("eth0", "eth1")
_VLAN_ID = re.compile(r"(?:.*\.|vlan)([0-9]{1,4})")

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class CmdlineError(ValueError):
    """An invalid setting; the text has the setting and the reason."""


@attrs.frozen(kw_only=True)
class CmdlineIP:
    """One `ip=`. Link name "" is the first link that is not the loopback; `address` has its prefix length."""

    link_name: str = ""
    address: str = ""
    gateway: str = ""
    hostname: str = ""
    dhcp: bool = False
    dns_servers: tuple[str, ...] = ()
    time_servers: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class CmdlineBond:
    """The `bond=`. MTU 0 leaves the bond's own."""

    name: str
    members: tuple[str, ...]
    options: BondMaster
    mtu: int = 0


@attrs.frozen(kw_only=True)
class CmdlineVLAN:
    """The `vlan=`."""

    name: str
    parent: str
    vlan_id: int


@attrs.frozen(kw_only=True)
class CmdlineNetwork:
    """The settings. With an `error` all but `ignored_interfaces` and `dhcp_links` is void."""

    hostname: str = ""
    ips: tuple[CmdlineIP, ...] = ()
    bond: CmdlineBond | None = None
    vlan: CmdlineVLAN | None = None
    # Links with DHCP, "" being the first one.
    dhcp_links: tuple[str, ...] = ()
    ignored_interfaces: frozenset[str] = frozenset()
    error: str = ""

    @property
    def dns_servers(self) -> tuple[str, ...]:
        """The name servers of all `ip=`."""
        return tuple(dict.fromkeys(server for ip in self.ips for server in ip.dns_servers))

    @property
    def time_servers(self) -> tuple[str, ...]:
        """The time servers of all `ip=`."""
        return tuple(dict.fromkeys(server for ip in self.ips for server in ip.time_servers))

    @property
    def first_hostname(self) -> str:
        """The host name: that of `talos.hostname`, else the first of an `ip=`."""
        return self.hostname or next((ip.hostname for ip in self.ips if ip.hostname), "")


def parameters(line: str) -> Mapping[str, tuple[str, ...]]:
    """The values of each key, in order."""
    found: dict[str, tuple[str, ...]] = {}
    for word in line.split():
        key, _, value = word.partition("=")
        found[key] = (*found.get(key, ()), value)
    return found


def parse_cmdline(line: str) -> CmdlineNetwork:
    """The network settings of a kernel command line. Never raises."""
    given = parameters(line)
    ips: list[CmdlineIP] = []
    bond: CmdlineBond | None = None
    vlan: CmdlineVLAN | None = None
    error = ""
    try:
        for value in given.get("ip", ()):
            ip = _ip(value)
            if ip is not None:
                ips.append(ip)
        # Of these, only the first counts.
        for value in given.get("bond", ())[:1]:
            bond = _bond(value)
        for value in given.get("vlan", ())[:1]:
            vlan = _vlan(value)
    except CmdlineError as mistake:
        error = str(mistake)
    ignored = frozenset(given.get("talos.network.interface.ignore", ()))
    dhcp_links = tuple(ip.link_name for ip in ips if ip.dhcp)
    if error:
        return CmdlineNetwork(dhcp_links=dhcp_links, ignored_interfaces=ignored, error=error)
    return CmdlineNetwork(
        hostname=given.get("talos.hostname", ("",))[-1],
        ips=tuple(ips),
        bond=bond,
        vlan=vlan,
        dhcp_links=dhcp_links,
        ignored_interfaces=ignored,
    )


def _ip(value: str) -> CmdlineIP | None:
    fields = list(_fields(value))
    if fields == ["dhcp"]:
        # On any link: left to the configuration.
        return None
    if len(fields) == 2 and fields[0] and fields[1] == "dhcp":
        return CmdlineIP(link_name=fields[0], dhcp=True)
    if len(fields) < 3:
        raise CmdlineError(f"ip={value}: expected DEVICE:dhcp or CLIENT:SERVER:GATEWAY:MASK:HOST:DEVICE:...")
    # The second is the server of a root file system, the seventh the protocol.
    client, _, gateway, mask, hostname, link_name, method, *servers = fields + [""] * (7 - len(fields))
    return CmdlineIP(
        link_name=link_name,
        address=_client(client, mask, value),
        gateway=_address(gateway, value) if gateway else "",
        hostname=hostname,
        dhcp=method == "dhcp",
        dns_servers=tuple(_address(server, value) for server in servers[:2] if server),
        time_servers=tuple(server for server in servers[2:3] if server),
    )


def _fields(value: str) -> Iterator[str]:
    """The value split at its colons outside of brackets, with the brackets removed."""
    field, depth = "", 0
    for char in value:
        if char in "[]":
            depth += 1 if char == "[" else -1
        elif char == ":" and depth == 0:
            yield field
            field = ""
        else:
            field += char
    yield field


def _address(text: str, value: str) -> str:
    return str(_parse_address(text, value))


def _parse_address(text: str, value: str) -> _Address:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        raise CmdlineError(f"ip={value}: {text!r} is not an IP address, IPv6 addresses stand in brackets") from None


def _client(client: str, mask: str, value: str) -> str:
    if not client:
        return ""
    address = _parse_address(client, value)
    return f"{address}/{_prefix_length(mask, address.max_prefixlen, value)}"


def _prefix_length(mask: str, longest: int, value: str) -> int:
    if not mask:
        return longest
    if mask.isascii() and mask.isdecimal():
        length = int(mask[:4])
        if length <= longest:
            return length
    else:
        bits = f"{int(_parse_address(mask, value)):0{longest}b}"
        if len(bits) == longest and "01" not in bits:
            return bits.count("1")
    raise CmdlineError(f"ip={value}: {mask!r} is not a network mask")


def _bond(value: str) -> CmdlineBond:
    # Colons and commas are separators, so IPv6 addresses are in brackets here too.
    name, members, options, mtu, *rest = [*_fields(value), "", "", ""]
    if not name or len(rest) > 3 or any(rest):
        raise CmdlineError(f"bond={value}: expected NAME:MEMBER,MEMBER:OPTION=VALUE,...:MTU")
    if mtu and not (mtu.isascii() and mtu.isdecimal() and len(mtu) <= 6):
        raise CmdlineError(f"bond={value}: the MTU {mtu!r} is not a number")
    return CmdlineBond(
        name=name,
        members=tuple(filter(None, members.split(","))) or _DEFAULT_BOND_MEMBERS,
        options=_bond_options(options),
        mtu=int(mtu or 0),
    )


_CHOICES: dict[str, tuple[str, type[enums.KernelEnum]]] = {
    "ad_select": ("ad_select", enums.ADSelect),
    "arp_all_targets": ("arp_all_targets", enums.ARPAllTargets),
    "arp_validate": ("arp_validate", enums.ARPValidate),
    "fail_over_mac": ("fail_over_mac", enums.FailOverMAC),
    "lacp_active": ("ad_lacp_active", enums.ADLACPActive),
    "lacp_rate": ("lacp_rate", enums.LACPRate),
    "primary_reselect": ("primary_reselect", enums.PrimaryReselect),
    "xmit_hash_policy": ("xmit_hash_policy", enums.XmitHashPolicy),
}
_NUMBERS = {
    **{
        name: name
        for name in (
            *("ad_actor_sys_prio", "ad_user_port_key", "all_slaves_active", "arp_interval", "downdelay"),
            *("lp_interval", "miimon", "min_links", "missed_max", "num_peer_notif", "packets_per_slave"),
            *("resend_igmp", "updelay"),
        )
    },
    "arp_missed_max": "missed_max",
    "num_grat_arp": "num_peer_notif",
    "num_unsol_na": "num_peer_notif",
    "peer_notif_delay": "peer_notify_delay",
    "tlb_dynamic_lb": "tlb_logical_lb",
}


def _bond_options(text: str) -> BondMaster:
    given: dict[str, object] = {}
    mode = enums.BondMode.ROUND_ROBIN
    for option in filter(None, text.split(",")):
        key, _, value = option.partition("=")
        if key == "mode":
            mode = _choice(enums.BondMode, key, value)
        elif key in _CHOICES:
            name, choice = _CHOICES[key]
            given[name] = _choice(choice, key, value)
        elif key in _NUMBERS:
            given[_NUMBERS[key]] = _number(key, value)
        elif key == "use_carrier":
            given[key] = bool(_number(key, value))
        elif key == "primary":
            given[key] = value
        elif key == "arp_ip_target":
            given["arp_ip_targets"] = tuple(value.split(";"))
        elif key == "ns_ip6_target":
            given["ns_ip6_targets"] = tuple(value.split(";"))
        else:
            raise CmdlineError(f"bond=: unknown option {key!r}")
    return bond_master(mode, given)


def _choice(choice: type[enums._E], key: str, value: str) -> enums._E:
    """An option by its text or the kernel's number."""
    for member in choice:
        if value in (member.value, str(member.number)):
            return member
    raise CmdlineError(f"bond=: {key} is one of {', '.join(choice)}, not {value!r}")


def _number(key: str, value: str) -> int:
    if not (value.isascii() and value.isdecimal() and len(value) <= 10):
        raise CmdlineError(f"bond=: {key} is a number, not {value!r}")
    return int(value)


def _vlan(value: str) -> CmdlineVLAN:
    name, _, parent = value.partition(":")
    found = _VLAN_ID.fullmatch(name)
    vlan_id = int(found[1]) if found else 0
    if not parent or not 1 <= vlan_id <= _HIGHEST_VLAN:
        raise CmdlineError(f"vlan={value}: expected DEVICE.ID:DEVICE or vlanID:DEVICE with an ID from 1 to 4095")
    return CmdlineVLAN(name=vlan_link_name(parent, vlan_id), parent=parent, vlan_id=vlan_id)
