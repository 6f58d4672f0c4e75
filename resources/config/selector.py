"""The device selector: how a configuration selects a link by its properties instead of its name."""

import attrs

from nodespan.runtime.resource import wire


@attrs.frozen(kw_only=True)
class DeviceSelector:
    """Every field that is set must match; "" and None are unset. In patterns only `*` is special."""

    bus_path: str = ""
    """A pattern for the path of the device on its bus, as `0000:00:1f.6`."""
    hardware_addr: str = ""
    """A pattern for the hardware address of the link."""
    permanent_addr: str = ""
    """A pattern for the permanent hardware address, which stays when the other is changed."""
    pci_id: str = attrs.field(default="", metadata=wire("pciID"))
    """A pattern for the PCI vendor and device, as `8086:15be`."""
    driver: str = ""
    """A pattern for the name of the kernel's driver."""
    physical: bool | None = None
    """Whether the link is a network card; unset selects both."""
