"""The network cards of the guest with hardware: what QEMU plugs in where, and the addresses by which they are found."""

# What cards are plugged into, beside the first bus: ports that a bus hangs on each, a bridge to an old bus, USB.
PORTS = (
    *("pcie-root-port,id=port1,chassis=1,slot=5,addr=0x16", "pcie-root-port,id=port2,chassis=2,slot=6,addr=0x17"),
    *("pcie-root-port,id=port3,chassis=3,slot=7,addr=0x18", "pcie-pci-bridge,id=bridge,bus=port3"),
    "qemu-xhci,id=usb,addr=0x15",
)
# Each at another kind of place, for where they sit is what links are named after.
NETWORK_CARDS = (
    "virtio-net-pci,addr=0x10",
    "virtio-net-pci,addr=0x11,multifunction=on",
    "e1000e,addr=0x14",
    "virtio-net-pci,addr=0x11.1",
    "virtio-net-pci,bus=port1",
    "virtio-net-pci,bus=port2,acpi-index=3",
    "virtio-net-pci,addr=0x13,acpi-index=4",
    "e1000,bus=bridge,addr=4",
)
# Its hardware address is made up inside.
USB_CARD = "usb-net,bus=usb.0"
# Of QEMU's cards only Intel's oldest say that they can wake the machine.
WAKING_CARD = "i82558b,addr=0x19"
MAC_PREFIX = "52:54:00:aa:00:"


def qemu_options() -> tuple[str, ...]:
    """QEMU's options for the cards, all on one segment; tests find them by MAC, for udev renames them."""
    options = []
    for port in PORTS:
        options += ["-device", port]
    for number, card in enumerate((*NETWORK_CARDS, USB_CARD, WAKING_CARD)):
        options += ["-netdev", f"hubport,id=card{number},hubid=0"]
        options += ["-device", f"{card},netdev=card{number},mac={MAC_PREFIX}{number:02x}"]
    return tuple(options)
