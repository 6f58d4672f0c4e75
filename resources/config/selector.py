"""The device selector: how a configuration selects a link by its properties instead of its name."""

import attrs

from nodespan.runtime.resource import wire


@attrs.frozen(kw_only=True)
class DeviceSelector:
    """Every field that is set must match; "" and None are unset. In patterns only `*` is special."""

    bus_path: str = ""
    hardware_addr: str = ""
    permanent_addr: str = ""
    pci_id: str = attrs.field(default="", metadata=wire("pciID"))
    driver: str = ""
    physical: bool | None = None
