"""Reads the inputs of the naming rules from sysfs. Files are read one by one; missing ones are skipped."""

import os
from collections.abc import Iterator
from pathlib import Path

from nodespan.controllers.network.naming.facts import Aliases, HotplugSlot, NameFacts, PciDevice
from nodespan.kernel.outside_text import file_name

_HEADER_TYPE = 0x0E
_MULTI_FUNCTION = 0x80
_BRIDGE = "0x0604"
_FUNCTION = "virtfn"
# More than there are ports on any board.
_MOST_DIGITS = 9
# Buses that number their direct children, however deep below those the link is.
_FLAT_BUSES = ("platform", "vio")


def read_name_facts(name: str, index: int, root: Path = Path("/sys")) -> NameFacts | None:
    """The facts of a link; None if sysfs does not show it, or shows another link of the name. Blocks.

    sysfs shows the network namespace that it was mounted in; the index tells whether that is this one.
    """
    link = root / "class" / "net" / file_name(name)
    if _number(link / "ifindex") != index:
        return None
    parents = tuple(_parents(link / "device", root))
    behind = next((device for device in parents if _subsystem(device) != "virtio"), None)
    usb = next((device for device in parents if _is_usb_interface(device)), None)
    bcma = next((device for device in parents if _subsystem(device) == "bcma"), None)
    pci, function = _pci(behind, usb or bcma, root)
    subsystem = "" if behind is None else _subsystem(behind)
    return NameFacts(
        kernel_name=name,
        type=_number(link / "type") or 0,
        index=index,
        linked_index=_number(link / "iflink") or index,
        name_assign_type=_number(link / "name_assign_type") or 0,
        device_type=_property(link, "DEVTYPE"),
        mac=_text(link / "address"),
        addr_assign_type=_assigned(link),
        phys_port_name=_text(link / "phys_port_name"),
        dev_port=_number(link / "dev_port") or 0,
        dev_id=_number(link / "dev_id") or 0,
        parent_subsystem=subsystem,
        parent="" if behind is None else _name_on_bus(behind, subsystem, root),
        pci=pci,
        virtual_function=function,
        usb_interface="" if usb is None else usb.name,
        bcma_core="" if bcma is None else bcma.name,
        device_aliases=_aliases(link / "device" / "of_node", root),
        port_aliases=_aliases(link / "of_node", root),
        hotplug_slots=tuple(_hotplug_slots(root)) if pci else (),
    )


def _assigned(link: Path) -> int:
    """How the link got its hardware address. Without the file, the address is not reliable."""
    number = _number(link / "addr_assign_type")
    return -1 if number is None else number


def _pci(behind: Path | None, holder: Path | None, root: Path) -> tuple[tuple[PciDevice, ...], int | None]:
    """The PCI devices from the link's own upstream, and the link's number if it is a virtual function."""
    if holder is not None:
        return tuple(_pci_devices(holder, root)), None
    if behind is None or _subsystem(behind) != "pci":
        return (), None
    physical = behind / "physfn"
    if physical.exists():
        for function in sorted(physical.glob(f"{_FUNCTION}*")):
            number = function.name.removeprefix(_FUNCTION)
            if number.isdecimal() and function.resolve() == behind:
                return tuple(_pci_devices(physical, root)), int(number)
    return tuple(_pci_devices(behind, root)), None


def _pci_devices(path: Path, root: Path) -> Iterator[PciDevice]:
    for device in _parents(path, root):
        if _subsystem(device) == "pci":
            yield PciDevice(
                address=device.name,
                acpi_index=_number(device / "acpi_index"),
                index=_number(device / "index"),
                multi_function=_is_multi_function(device),
                ari_enabled=_text(device / "ari_enabled") == "1",
                bridge=_text(device / "class").startswith(_BRIDGE),
                slot_number=_number(device / "firmware_node" / "sun"),
                function_id=_number(device / "function_id"),
            )


def _parents(path: Path, root: Path) -> Iterator[Path]:
    """The device at a path, without symbolic links, and its ancestors."""
    if not path.exists():
        return
    devices = (root / "devices").resolve()
    device = path.resolve()
    while device != devices and devices in device.parents:
        # Other directories on the way only group devices.
        if (device / "uevent").exists():
            yield device
        device = device.parent


def _is_multi_function(device: Path) -> bool:
    try:
        with (device / "config").open("rb") as file:
            header = file.read(_HEADER_TYPE + 1)
    except OSError:
        return False
    return len(header) > _HEADER_TYPE and bool(header[_HEADER_TYPE] & _MULTI_FUNCTION)


def _is_usb_interface(device: Path) -> bool:
    return _subsystem(device) == "usb" and _property(device, "DEVTYPE") == "usb_interface"


def _name_on_bus(device: Path, subsystem: str, root: Path) -> str:
    bus = (root / "devices" / subsystem).resolve()
    return device.relative_to(bus).parts[0] if subsystem in _FLAT_BUSES and bus in device.parents else device.name


def _hotplug_slots(root: Path) -> Iterator[HotplugSlot]:
    slots = root / "bus" / "pci" / "slots"
    for directory in sorted(slots.iterdir()) if slots.is_dir() else ():
        yield HotplugSlot(name=directory.name, address=_text(directory / "address"))


def _aliases(node: Path, root: Path) -> Aliases:
    """The aliases of a node of the device tree."""
    tree = (root / "firmware" / "devicetree" / "base").resolve()
    if not node.exists() or not (tree / "aliases").is_dir():
        return Aliases()
    path = node.resolve()
    return Aliases(*(_number_of_alias(prefix, path, tree) for prefix in ("ethernet", "wifi")))


def _number_of_alias(prefix: str, node: Path, tree: Path) -> int | None:
    """The number of the alias `ethernetN` of a node. `ethernet` alone is the same as 0."""
    aliases = tree / "aliases"
    found = {
        alias.name: alias.name.removeprefix(prefix)
        for alias in aliases.glob(f"{prefix}*")
        if tree / _text(alias).lstrip("/") == node
    }
    for name, suffix in sorted(found.items()):
        if suffix and not (suffix.isascii() and suffix.isdecimal()):
            continue
        number = int(suffix[:_MOST_DIGITS] or "0")
        other = aliases / (prefix if suffix else f"{prefix}0")
        # Two aliases for the first one: ambiguous.
        if number == 0 and other.exists() and other.name != name:
            return None
        return number
    return None


def _subsystem(device: Path) -> str:
    try:
        return os.path.basename(os.readlink(device / "subsystem"))  # the target may not exist
    except OSError:
        return ""


def _property(device: Path, name: str) -> str:
    """A line `NAME=value` of the device's uevent."""
    lines = (line.partition("=") for line in _text(device / "uevent").split("\n"))
    return next((value for key, _, value in lines if key == name), "")


def _number(path: Path) -> int | None:
    try:
        return int(_text(path), 0)
    except ValueError:
        return None


def _text(path: Path) -> str:
    """The text of a file; "" if it is missing, or if its driver refuses to read it."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0 \n")
    except OSError:
        return ""
