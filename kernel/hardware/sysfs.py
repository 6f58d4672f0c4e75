"""Reads the device of a link from sysfs.

sysfs shows the links of the network namespace it was mounted in, which may be another one: a link is
accepted only if its index matches.
"""

import os
import re
from pathlib import Path

import attrs

from nodespan.kernel.outside_text import file_name

# The kernel gives a file of an attribute at once, and it has at most one page.
_LARGEST = 65536
_PCI_ADDRESS = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")


@attrs.frozen(kw_only=True)
class DeviceFacts:
    """The device of a link: its driver, and on PCI its ids (`8086:10FB`) and its address."""

    driver: str = ""
    pci_id: str = ""
    bus_path: str = ""


def read_device(name: str, index: int, root: Path) -> DeviceFacts:
    """The device of a link; empty for links without one. Reads files of the kernel, which do not block."""
    link = f"{root}/class/net/{file_name(name)}"
    if _read(f"{link}/ifindex") != str(index):
        return DeviceFacts()
    facts = dict(line.partition("=")[::2] for line in _read(f"{link}/device/uevent").split("\n"))
    return DeviceFacts(
        driver=facts.get("DRIVER", ""), pci_id=facts.get("PCI_ID", ""), bus_path=facts.get("PCI_SLOT_NAME", "")
    )


def read_pci_ids(bus_path: str, root: Path) -> tuple[str, str]:
    """Vendor and product (`0x8086`, `0x10fb`) of the device at a PCI address; empty for any other path."""
    if not _PCI_ADDRESS.fullmatch(bus_path):
        return "", ""
    device = f"{root}/bus/pci/devices/{bus_path}"
    return _read(f"{device}/vendor"), _read(f"{device}/device")


def _read(path: str) -> str:
    """The text of a file, "" if it is missing or its driver does not answer."""
    # Of thousands of links two each minute: without the objects that stand for paths and texts.
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(file, _LARGEST).decode(errors="replace").strip()
    except OSError:
        return ""
    finally:
        os.close(file)
