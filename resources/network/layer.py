"""The layers of network configuration; a higher one wins."""

from nodespan.resources.network.enums import KernelEnum


class ConfigLayer(KernelEnum):
    """A layer; a higher number takes precedence."""

    DEFAULT = "default", 0
    CMDLINE = "cmdline", 1
    PLATFORM = "platform", 2
    OPERATOR = "operator", 3
    CONFIGURATION = "configuration", 4


def layered_id(layer: ConfigLayer, id: str) -> str:
    """The id of an unmerged spec: `configuration/eth0`."""
    return f"{layer.value}/{id}"
