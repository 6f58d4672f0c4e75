"""LinkName: the predictable name of a link, and the rule that gives it. The id is the link's current name."""

import enum

import attrs

from nodespan.resources.network.namespace import NAMESPACE
from nodespan.runtime.resource import ResourceType, wire

_OPTIONAL = wire(omit_empty=True)


class NameRule(enum.StrEnum):
    """The rule that decides the name of a link. The first four give a name, with the others the link keeps its own."""

    ONBOARD = "onboard"
    SLOT = "slot"
    PATH = "path"
    MAC = "mac"
    KEEP = "keep"
    KERNEL = "kernel"
    NONE = "none"


@attrs.frozen(kw_only=True)
class LinkNameSpec:
    """The predictable names of a link."""

    name: str
    """The chosen name."""
    rule: NameRule = NameRule.NONE
    """The rule that decides."""
    reason: str = attrs.field(default="", metadata=_OPTIONAL)
    """Why the link keeps its own name."""
    onboard: str = ""
    """The name by the index that the firmware gives, "" if that rule gives none."""
    slot: str = ""
    """The name by the slot, "" if that rule gives none."""
    path: str = ""
    """The name by the path on the bus, "" if that rule gives none."""
    mac: str = ""
    """The name by the hardware address, "" if that rule gives none."""
    alt_names: tuple[str, ...] = attrs.field(default=(), metadata=_OPTIONAL)
    """The other valid candidates, which become alternative names."""


LinkName = ResourceType(
    "LinkNames.net.nodespan.dev",
    LinkNameSpec,
    namespace=NAMESPACE,
    columns={
        "Name": ".name",
        "Rule": ".rule",
        "Onboard": ".onboard",
        "Slot": ".slot",
        "Path": ".path",
        "MAC": ".mac",
    },
)
