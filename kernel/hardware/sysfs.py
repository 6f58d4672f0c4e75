"""Reads the device of a link from sysfs.

sysfs shows the links of the network namespace it was mounted in, which may be another one: a link is
accepted only if its index matches.
"""

import re
from pathlib import Path

import attrs

from nodespan.kernel.outside_text import file_name

_PCI_ADDRESS = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")


@attrs.frozen(kw_only=True)
class DeviceFacts:
    """The device of a link: its driver, and on PCI its ids (`8086:10FB`) and its address."""

    driver: str = ""
    pci_id: str = ""
    bus_path: str = ""


def read_device(name: str, index: int, root: Path) -> DeviceFacts:
    """The device of a link; empty for links without one. Reads files of the kernel, which do not block."""
    link = root / "class" / "net" / file_name(name)
    if _read(link / "ifindex") != str(index):
        return DeviceFacts()
    facts = dict(line.partition("=")[::2] for line in _read(link / "device" / "uevent").split("\n"))
    return DeviceFacts(
        driver=facts.get("DRIVER", ""), pci_id=facts.get("PCI_ID", ""), bus_path=facts.get("PCI_SLOT_NAME", "")
    )


def read_pci_ids(bus_path: str, root: Path) -> tuple[str, str]:
    """Vendor and product (`0x8086`, `0x10fb`) of the device at a PCI address; empty for any other path."""
    if not _PCI_ADDRESS.fullmatch(bus_path):
        return "", ""
    device = root / "bus" / "pci" / "devices" / bus_path
    return _read(device / "vendor"), _read(device / "device")


def _read(path: Path) -> str:
    """The text of a file, "" if it is missing or its driver does not answer."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
