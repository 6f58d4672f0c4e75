"""A directory that looks like /sys, as far as links and the devices behind them go."""

from collections.abc import Mapping
from pathlib import Path

Files = Mapping[str, str | int]
NO_FILES: Files = {}
_HEADER_TYPE = 0x0E


class SysfsTree:
    """Devices and links are added one by one; each gets the directory that the kernel would give it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._links = 0
        (root / "class" / "net").mkdir(parents=True)
        (root / "devices").mkdir()

    def device(self, path: str, subsystem: str, *, below: Path | None = None, files: Files = NO_FILES) -> Path:
        """A device of a bus, below another one or right below `devices`."""
        directory = (below or self.root / "devices") / path
        directory.mkdir(parents=True)
        bus = self.root / "bus" / subsystem
        bus.mkdir(parents=True, exist_ok=True)
        (directory / "subsystem").symlink_to(bus)
        self._write(directory, {"uevent": "", **files})
        return directory

    def pci(
        self, address: str, *, below: Path | None = None, multi_function: bool = False, files: Files = NO_FILES
    ) -> Path:
        """A PCI device, on the root bus of its domain unless it is below a bridge."""
        root_bus = self.root / "devices" / f"pci{address.rpartition(':')[0]}"
        device = self.device(address, "pci", below=below or root_bus, files=files)
        config = bytearray(64)
        config[_HEADER_TYPE] = 0x80 if multi_function else 0
        (device / "config").write_bytes(config)
        return device

    def slot(self, name: str, address: str) -> None:
        """A hot-plug slot."""
        directory = self.root / "bus" / "pci" / "slots" / name
        directory.mkdir(parents=True)
        self._write(directory, {"address": address})

    def usb(self, host: Path, interface: str) -> Path:
        """A USB interface such as `2-1.4:1.0`."""
        bus, ports = interface.partition(":")[0].split("-")
        hub = self.device(f"usb{bus}", "usb", below=host, files={"uevent": "DEVTYPE=usb_device"})
        device = self.device(f"{bus}-{ports}", "usb", below=hub, files={"uevent": "DEVTYPE=usb_device"})
        return self.device(interface, "usb", below=device, files={"uevent": "DEVTYPE=usb_interface"})

    def alias(self, name: str, node: str, device: Path) -> None:
        """A node of the device tree, with a device that it describes and an alias."""
        tree = self.root / "firmware" / "devicetree" / "base"
        (tree / "aliases").mkdir(parents=True, exist_ok=True)
        (tree / node.lstrip("/")).mkdir(parents=True, exist_ok=True)
        (tree / "aliases" / name).write_text(f"{node}\0")
        if not (device / "of_node").exists():
            (device / "of_node").symlink_to(tree / node.lstrip("/"))

    def link(self, name: str, device: Path | None = None, files: Files = NO_FILES) -> int:
        """A link and its index. It is like a NIC whose address was made up, unless the files say otherwise."""
        self._links += 1
        place = device / "net" / name if device else self.root / "devices" / "virtual" / "net" / name
        place.mkdir(parents=True)
        usual: Files = {"ifindex": self._links, "iflink": self._links, "type": 1, "name_assign_type": 1, "dev_port": 0}
        address: Files = {"address": "02:00:00:00:00:01", "addr_assign_type": 1, "uevent": f"INTERFACE={name}"}
        self._write(place, {**usual, **address, **files})
        if device:
            (place / "device").symlink_to(device)
        (self.root / "class" / "net" / name).symlink_to(place)
        return int(files.get("ifindex", self._links))

    def _write(self, directory: Path, files: Files) -> None:
        for name, content in files.items():
            file = directory / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{content}\n")
