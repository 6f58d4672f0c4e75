"""DeviceConfigSpec: one entry of `machine.network.interfaces` with its link. Id: `<link>/<index>`."""

import attrs

from nodespan.resources.config.device import Device
from nodespan.resources.network.namespace import NAMESPACE
from nodespan.runtime.resource import ResourceType


@attrs.frozen(kw_only=True)
class DeviceConfigSpecSpec:
    """An entry of `machine.network.interfaces`, with its link."""

    device: Device
    """The entry; if it has a selector, `interface` is the link that the selector matches."""


def device_config_id(link_name: str, index: int) -> str:
    """`eth0/003`: the index is the entry's position in the list."""
    return f"{link_name}/{index:03}"


DeviceConfigSpec = ResourceType(
    "DeviceConfigSpecs.net.talos.dev", DeviceConfigSpecSpec, namespace=NAMESPACE, sensitive=True
)
