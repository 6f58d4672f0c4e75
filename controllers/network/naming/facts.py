"""The inputs of the naming rules."""

import attrs

ETHERNET = 1
INFINIBAND = 32
SLIP = 256
MCTP = 290


@attrs.frozen(kw_only=True)
class PciDevice:
    """A PCI device: its address (`0000:3b:00.0`) and properties from firmware, configuration space and kernel.

    `acpi_index` and `index` are numbers of devices on the mainboard, by ACPI and by SMBIOS. `slot_number` is ACPI's
    number of the slot (_SUN). `function_id` is that of s390. None is unset.
    """

    address: str
    acpi_index: int | None = None
    index: int | None = None
    multi_function: bool = False
    ari_enabled: bool = False
    bridge: bool = False
    slot_number: int | None = None
    function_id: int | None = None


@attrs.frozen(kw_only=True)
class HotplugSlot:
    """A directory of /sys/bus/pci/slots: its name, and the address of its devices, without function."""

    name: str
    address: str


@attrs.frozen
class Aliases:
    """The numbers that aliases of the device tree give a node, None for none: as Ethernet, and as Wi-Fi."""

    ethernet: int | None = None
    wifi: int | None = None


@attrs.frozen(kw_only=True)
class NameFacts:
    """A link and its device, as sysfs shows them. Numbers are the kernel's.

    `parent_subsystem` and `parent` describe the parent device of the link, skipping virtio. `pci` is the PCI device
    of the link, its USB interface or its BCMA core, followed by the upstream PCI devices;
    for a virtual function these are its physical function's, and `virtual_function` is its number.
    `device_aliases` are those of the node of the link's device, `port_aliases` those of a node of the link's own.
    `usb_interface` and `bcma_core` are names like `2-1.4:1.0` and `bcma0:1`, "" for links without one.
    """

    kernel_name: str
    type: int = ETHERNET
    index: int = 0
    linked_index: int = 0
    name_assign_type: int = 1
    device_type: str = ""
    mac: str = ""
    addr_assign_type: int = 0
    phys_port_name: str = ""
    dev_port: int = 0
    dev_id: int = 0
    parent_subsystem: str = ""
    parent: str = ""
    pci: tuple[PciDevice, ...] = ()
    virtual_function: int | None = None
    usb_interface: str = ""
    bcma_core: str = ""
    device_aliases: Aliases = Aliases()
    port_aliases: Aliases = Aliases()
    hotplug_slots: tuple[HotplugSlot, ...] = ()
