"""The device selector: how a configuration names a link by what it is instead of by its name."""

import attrs

from nodespan.runtime.resource import wire


@attrs.frozen(kw_only=True)
class DeviceSelector:
    """Every field that is given must match; "" and None are not given. In patterns only `*` is special."""

    bus_path: str = ""
    hardware_addr: str = ""
    permanent_addr: str = ""
    pci_id: str = attrs.field(default="", metadata=wire("pciID"))
    driver: str = ""
    physical: bool | None = None
