"""The candidate names of a link, by rule.

A name is a prefix for the kind of link (`en`), a position (`p59s0f0`: bus 59, slot 0, function 0), and
a suffix for links at the same position (`np0`: port p0). All numbers in names are decimal.

    onboard   o INDEX PORT VF                  the firmware's number of a device on the mainboard
    slot      [P DOMAIN] s SLOT [f] PORT VF    the slot that it is plugged into, or the platform's equivalent
    path      [P DOMAIN] p BUS s SLOT [f] PORT VF
    mac       x MAC

Devices on PCI through USB or BCMA have only slot and path, with their own position at the end instead of VF.
"""

import re
from collections.abc import Iterator

import attrs

from nodespan.controllers.network.naming.facts import ETHERNET, INFINIBAND, MCTP, SLIP, Aliases, NameFacts, PciDevice
from nodespan.resources.config.nodespan import NamingScheme


@attrs.frozen(kw_only=True)
class Candidates:
    """A name for each rule, "" if a rule yields none. They may be too long, or otherwise invalid as names of links."""

    onboard: str = ""
    slot: str = ""
    path: str = ""
    mac: str = ""


_PREFIXES = {ETHERNET: "en", INFINIBAND: "ib", SLIP: "sl"}
_WIRELESS_PREFIXES = {"wlan": "wl", "wwan": "ww"}
_HIGHEST_ONBOARD_INDEX = 0xFFFF
_PERMANENT_ADDRESS = 0
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_PCI_ADDRESS = re.compile(r"([0-9a-f]+):([0-9a-f]+):([0-9a-f]+)\.([0-9a-f]+)")
_REPRESENTOR = re.compile(r"pf[0-9]+vf([0-9]+)")
_USB_INTERFACE = re.compile(r"[0-9]+-([0-9.]+):([0-9]+)\.([0-9]+)")
_BCMA_CORE = re.compile(r"bcma[0-9]+:([0-9]+)")
_XEN = re.compile(r"vif-([0-9]+)")
# Two forms of ACPI ids: three letters of a vendor, or four letters and digits of a newer one.
_ACPI = re.compile(r"([A-Z]{3}|[A-Z0-9]{4})([0-9A-F]{4}):([0-9A-F]{2})")
_VIO = re.compile(r"[0-9A-Fa-f]{4}([0-9A-Fa-f]{4})")
_NETDEVSIM = re.compile(r"netdevsim([0-9]+)")
_CCW_LENGTHS = (8, 9)


def candidates_of(facts: NameFacts, scheme: NamingScheme = NamingScheme.V255) -> Candidates:
    """The names of a link. Links on top of others (VLAN, veth) and those of other types have none."""
    prefix = _prefix(facts, scheme)
    if not prefix or facts.linked_index != facts.index:
        return Candidates()
    names = (
        attrs.asdict(Candidates(mac=_mac(facts)))
        | dict(_by_platform(facts, prefix, scheme))
        | dict(_by_pci(facts, scheme))
    )
    return Candidates(**{rule: f"{prefix}{name}" if name else "" for rule, name in names.items()})


def _prefix(facts: NameFacts, scheme: NamingScheme) -> str:
    if facts.type == MCTP and scheme.includes(NamingScheme.V260):
        return "mc"
    prefix = _PREFIXES.get(facts.type, "")
    return _WIRELESS_PREFIXES.get(facts.device_type, prefix) if prefix else ""


def _mac(facts: NameFacts) -> str:
    if facts.type == INFINIBAND or facts.addr_assign_type != _PERMANENT_ADDRESS or not _MAC.fullmatch(facts.mac):
        return ""
    return f"x{facts.mac.replace(':', '')}"


def _devicetree_number(facts: NameFacts, prefix: str, scheme: NamingScheme) -> int | None:
    """The number that the device tree gives a link: the newer schemes look at its own node before its device's."""
    nodes: tuple[Aliases, ...] = (facts.device_aliases,)
    if scheme.includes(NamingScheme.V257):
        nodes = (facts.port_aliases, facts.device_aliases)
    for node in nodes:
        if prefix == "en" and node.ethernet is not None:
            return node.ethernet
        if prefix == "wl" and scheme.includes(NamingScheme.V259):
            number = node.ethernet if node.wifi is None else node.wifi
            if number is not None:
                return number
    return None


def _by_platform(facts: NameFacts, prefix: str, scheme: NamingScheme) -> Iterator[tuple[str, str]]:
    """Devices that are not on a PCI bus."""
    number = _devicetree_number(facts, prefix, scheme)
    if number is not None:
        yield "onboard", f"d{number}"
    parent = facts.parent
    match facts.parent_subsystem:
        case "xen" if found := _XEN.fullmatch(parent):
            yield "slot", f"X{int(found[1])}"
        case "vio" if found := _VIO.fullmatch(parent):
            yield "slot", f"v{int(found[1], 16)}"
        case "platform" if found := _ACPI.fullmatch(parent):
            yield "path", f"a{found[1].lower()}{int(found[2], 16):x}i{int(found[3], 16)}"
        case "netdevsim" if (found := _NETDEVSIM.fullmatch(parent)) and facts.phys_port_name:
            yield "path", f"i{found[1]}n{facts.phys_port_name}"
        case "ccw" | "ccwgroup" if len(parent) in _CCW_LENGTHS:
            yield "path", f"c{parent.lstrip('.0') or '0'}"
        case _:
            return


def _by_pci(facts: NameFacts, scheme: NamingScheme) -> Iterator[tuple[str, str]]:
    if facts.usb_interface:
        yield from _at_place(facts, scheme, _usb_place(facts.usb_interface))
    elif facts.bcma_core:
        core = _BCMA_CORE.fullmatch(facts.bcma_core)
        if core is not None and facts.pci:
            yield from _at_place(facts, scheme, f"b{int(core[1])}" if int(core[1]) else "")
    elif facts.pci:
        end = "" if facts.virtual_function is None else f"v{facts.virtual_function}"
        index = _onboard_index(facts.pci[0])
        if index is not None:
            yield "onboard", f"o{index}{_port(facts, old_infiniband=False)}{end}"
        yield from _at_place(facts, scheme, end)


def _at_place(facts: NameFacts, scheme: NamingScheme, end: str | None) -> Iterator[tuple[str, str]]:
    """Slot and path. `end` is the last part, None for an invalid position."""
    if end is None:
        return
    if not facts.pci:
        # USB of a chip without PCI.
        yield "path", end
        return
    device = facts.pci[0]
    address = _PCI_ADDRESS.fullmatch(device.address)
    if address is None:
        return
    number, bus, slot, function = (int(part, 16) for part in address.groups())
    if device.ari_enabled:
        # Then the bits of the slot are the upper ones of the function.
        function += 8 * slot
    domain = f"P{number}" if number else ""
    end = f"{f'f{function}' if function or device.multi_function else ''}{_port(facts, old_infiniband=True)}{end}"
    yield "path", f"{domain}p{bus}s{slot}{end}"
    found = _slot(facts, scheme)
    if found is not None:
        yield "slot", f"{domain if found.counts_in_domain else ''}s{found.number}{end}"


def _port(facts: NameFacts, *, old_infiniband: bool) -> str:
    """The port of the link on its device. Old InfiniBand drivers report it in another file."""
    if facts.phys_port_name:
        representor = _REPRESENTOR.match(facts.phys_port_name)
        return f"n{facts.phys_port_name}" if representor is None else f"r{int(representor[1])}"
    port = facts.dev_port
    if not port and old_infiniband and facts.type == INFINIBAND:
        port = facts.dev_id
    return f"d{port}" if port else ""


def _onboard_index(device: PciDevice) -> int | None:
    index = device.index if device.acpi_index is None else device.acpi_index
    # Some firmware reports impossible values.
    return index if index is not None and 0 <= index <= _HIGHEST_ONBOARD_INDEX else None


@attrs.frozen
class _Slot:
    """A slot number, which counts within the PCI domain or for the whole machine."""

    number: int
    counts_in_domain: bool = True


def _slot(facts: NameFacts, scheme: NamingScheme) -> _Slot | None:
    number = _acpi_slot(facts) if scheme.includes(NamingScheme.V257) else None
    return _Slot(number) if number else _hotplug_slot(facts)


def _acpi_slot(facts: NameFacts) -> int | None:
    """ACPI's number for the slot of the device, or of a device upstream."""
    device, *parents = facts.pci
    if device.slot_number or not parents or _is_shared(parents[0], device):
        return device.slot_number
    return parents[0].slot_number


def _hotplug_slot(facts: NameFacts) -> _Slot | None:
    """The slot of the nearest upstream PCI device that has one."""
    for device in facts.pci:
        if device.function_id and any(slot.name == f"{device.function_id:08x}" for slot in facts.hotplug_slots):
            return _Slot(device.function_id, counts_in_domain=False)
        numbers = [
            int(slot.name)
            for slot in facts.hotplug_slots
            if slot.name.isascii()
            and slot.name.isdecimal()
            and slot.address
            and device.address.startswith(slot.address)
        ]
        if positive := [number for number in numbers if number]:
            return None if _is_shared(device, facts.pci[0]) else _Slot(min(positive))
    return None


def _is_shared(plugged: PciDevice, device: PciDevice) -> bool:
    """Whether several devices may be in the slot of `plugged`, so that its number does not identify `device`.

    Behind a bridge there may be many; multi-function devices have the function in their names.
    """
    return plugged.bridge and not device.multi_function


def _usb_place(interface: str) -> str | None:
    """`u1u4c2i1`: the ports from the host controller on; configuration and interface unless default."""
    found = _USB_INTERFACE.fullmatch(interface)
    if found is None:
        return None
    ports, configuration, number = found.groups()
    first = "" if configuration == "1" else f"c{configuration}"
    second = "" if number == "0" else f"i{number}"
    return f"u{ports.replace('.', 'u')}{first}{second}"
