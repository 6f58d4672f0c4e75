"""The devices of the main document, `machine.network.interfaces`."""

from collections.abc import Iterator, Mapping

from nodespan.controllers.common.link_settings.link_names import NAME_HINT, link_name_fault
from nodespan.controllers.common.link_settings.vlan_name import vlan_link_name
from nodespan.controllers.common.quoting import quote
from nodespan.controllers.config.finding import Finding, at, under, warn
from nodespan.controllers.config.notation import CIDR_HINT, IP_HINT, is_cidr, is_hex_bytes, is_ip, is_ip_or_cidr
from nodespan.controllers.config.rules.base import check_made_name, check_mtu
from nodespan.controllers.config.rules.bonds import check_bond, check_monitoring
from nodespan.controllers.config.rules.wireguard import check_wireguard
from nodespan.resources.config.bond import BondMode
from nodespan.resources.config.device import Device, DeviceRoute, DhcpOptions, Vlan
from nodespan.resources.config.selector import DeviceSelector

_LABEL = "networking.os.device"
_ADDRESS_HINT = "write it like 10.0.0.5/24 or fd00::5/64"


def check_devices(devices: tuple[Device, ...]) -> Iterator[Finding]:
    """All devices: the masters of their members, then each device that is not ignored."""
    masters: dict[str, Device] = {}
    for index, device in enumerate(devices):
        yield from under((index,), _check_masters(device, masters))
    for index, device in enumerate(devices):
        if not device.ignore:
            yield from under((index,), check_device(device, enslaved=masters))


def _check_masters(device: Device, masters: dict[str, Device]) -> Iterator[Finding]:
    """Notes the device's members in `masters`; an interface has at most one master."""
    if device.bond and device.bridge:
        yield at("bridge", message="a device is either a bond or a bridge", hint="take one of the two away")
    if device.bond and device.bond.interfaces and device.bond.device_selectors:
        yield at(
            "bond",
            "deviceSelectors",
            message="bond.interfaces and bond.deviceSelectors exclude each other",
            hint="name the members in one way",
        )
    section, members = "bond", device.bond.interfaces if device.bond else ()
    if device.bridge:
        section, members = "bridge", device.bridge.interfaces
    for position, member in enumerate(members):
        other = masters.setdefault(member, device)
        if other is not device and (other.interface != device.interface or not device.interface):
            yield at(
                section,
                "interfaces",
                position,
                message=f"{quote(member)} is a member of {quote(other.interface)} already",
                hint="an interface can have only one master",
            )
    if device.bridge_port and device.interface:
        other = masters.setdefault(device.interface, device)
        if other is not device and other.interface != device.bridge_port.master:
            yield at(
                "bridgePort",
                "master",
                message=f"{quote(device.interface)} is a member of {quote(other.interface)} already",
                hint="an interface can have only one master",
            )


def check_device(device: Device, *, enslaved: Mapping[str, object]) -> Iterator[Finding]:
    """One device, knowing which interfaces are members of a bond or bridge."""
    yield from _check_choice_of_link(device)
    if device.bond or device.bridge or device.dummy or device.wireguard:
        yield from check_made_name("interface", device.interface)
    if device.bond:
        yield from under(("bond",), check_bond(device.bond))
        yield from check_monitoring("bond", device.interface, device.bond.mode or BondMode.BALANCE_RR, device.bond)
    if device.wireguard:
        yield from under(("wireguard",), check_wireguard(device.wireguard))
    for index, vlan in enumerate(device.vlans):
        yield from under(("vlans", index), check_vlan(vlan))
        yield from under(("vlans", index), check_mtu(vlan.mtu, (*vlan.addresses, vlan.cidr)))
        fault = link_name_fault(vlan_link_name(device.interface, vlan.vlan_id)) if device.interface else ""
        if fault:
            message = f"the name of this VLAN, made of {quote(device.interface)} and vlanId, {fault}"
            yield at("vlans", index, "vlanId", message=message, hint=NAME_HINT)
    yield from _check_duid(device.dhcp_options)
    yield from check_mtu(device.mtu, (*device.addresses, device.cidr))
    yield from _check_addressing(device, is_enslaved=device.interface in enslaved)
    for index, route in enumerate(device.routes):
        yield from under(("routes", index), check_route(route, index))


def _check_choice_of_link(device: Device) -> Iterator[Finding]:
    label = f"[{_LABEL}.interface, {_LABEL}.deviceSelector]"
    if not device.interface and device.device_selector is None:
        yield at(
            "interface",
            message=f"neither interface nor deviceSelector is given {label}",
            hint="name the link, or say by which of its properties it is found",
        )
    if device.interface and device.device_selector is not None:
        yield at(
            "deviceSelector",
            message=f"interface and deviceSelector exclude each other {label}",
            hint="take one of the two away",
        )
    if device.device_selector == DeviceSelector():
        yield at(
            "deviceSelector",
            message=f"the selector is empty, so it matches nothing [{_LABEL}.deviceSelector]",
            hint="give at least one of busPath, hardwareAddr, permanentAddr, pciID, driver, physical",
        )


def _check_addressing(device: Device, *, is_enslaved: bool) -> Iterator[Finding]:
    if is_enslaved:
        given = {"dhcp": device.dhcp, "cidr": device.cidr, "addresses": device.addresses, "vip": device.vip}
        for key in (key for key, value in given.items() if value):
            yield at(
                key,
                message=f"{quote(device.interface)} is a member of a bond or bridge and takes no addresses [{_LABEL}]",
                hint="give the addresses to the bond or bridge",
            )
    if device.cidr:
        if device.addresses:
            yield at("cidr", message=f"cidr and addresses exclude each other [{_LABEL}]", hint="use addresses only")
        if not is_ip_or_cidr(device.cidr):
            yield _bad_address("cidr", text=device.cidr, label=f"{_LABEL}.CIDR")
        yield warn("cidr", message="cidr is deprecated", hint=f"write addresses: [{device.cidr}]")
    for index, address in enumerate(device.addresses):
        if not is_ip_or_cidr(address):
            yield _bad_address("addresses", index, text=address, label=f"{_LABEL}.addresses")
    if device.vip and not is_ip(device.vip.ip):
        yield at("vip", "ip", message=f"{quote(device.vip.ip)} is not an IP address [{_LABEL}.vip]", hint=IP_HINT)


def _bad_address(*path: str | int, text: str, label: str) -> Finding:
    message = f"{quote(text)} is neither an IP address nor a CIDR [{label}]"
    return at(*path, message=message, hint=_ADDRESS_HINT)


def check_route(route: DeviceRoute, index: int) -> Iterator[Finding]:
    """A route, which is number `index` of its device."""
    label = f"{_LABEL}.route[{index}]"
    if not route.network and not route.gateway:
        yield at(
            "network",
            message=f"neither network nor gateway is given [{label}]",
            hint="a route needs a destination, a gateway, or both",
        )
    if route.network and not is_cidr(route.network):
        yield at("network", message=f"{quote(route.network)} is not a CIDR [{label}.network]", hint=CIDR_HINT)
    for key, text in (("gateway", route.gateway), ("source", route.source)):
        if text and not is_ip(text):
            yield at(key, message=f"{quote(text)} is not an IP address [{label}.{key}]", hint=IP_HINT)


def check_vlan(vlan: Vlan) -> Iterator[Finding]:
    """A VLAN of a device. Its routes and virtual IP are checked only when they are applied."""
    label = f"{_LABEL}.vlan"
    if not 0 < vlan.vlan_id < 4095:
        # A warning: the originals accept it, although the link cannot be created or gets another ID.
        yield warn("vlanId", message=f"vlanId {vlan.vlan_id} is not between 1 and 4094")
    yield from _check_duid(vlan.dhcp_options)
    if vlan.cidr:
        if vlan.addresses:
            yield at("cidr", message=f"cidr and addresses exclude each other [{label}]", hint="use addresses only")
        if not is_ip_or_cidr(vlan.cidr):
            yield _bad_address("cidr", text=vlan.cidr, label=f"{label}.CIDR")
    for index, address in enumerate(vlan.addresses):
        if not is_ip_or_cidr(address):
            yield _bad_address("addresses", index, text=address, label=f"{label}.addresses")


def _check_duid(options: DhcpOptions | None) -> Iterator[Finding]:
    if options and options.duidv6 and not is_hex_bytes(options.duidv6):
        message = f"{quote(options.duidv6)} is not a hexadecimal text, so no address comes by DHCPv6"
        yield warn("dhcpOptions", "duidv6", message=message)
