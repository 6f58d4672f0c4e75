"""LinkName: what a link would be called by the rules for predictable names, and why. The id is the name that it has."""

import enum

import attrs

from nodespan.resources.network.namespace import NAMESPACE
from nodespan.runtime.resource import ResourceType, wire

_OPTIONAL = wire(omit_empty=True)


class NameRule(enum.StrEnum):
    """What decides on the name of a link. The first four make one, of the others the name that it has stays."""

    ONBOARD = "onboard"
    SLOT = "slot"
    PATH = "path"
    MAC = "mac"
    KEEP = "keep"
    KERNEL = "kernel"
    NONE = "none"


@attrs.frozen(kw_only=True)
class LinkNameSpec:
    """The names that the rules give, "" where one gives none, and which of them it comes to.

    `name` is what the link is to be called, `rule` what decided so, `reason` why the name that it has stays. The
    alternative names are the other ones that would do.
    """

    name: str
    rule: NameRule = NameRule.NONE
    reason: str = attrs.field(default="", metadata=_OPTIONAL)
    onboard: str = ""
    slot: str = ""
    path: str = ""
    mac: str = ""
    alt_names: tuple[str, ...] = attrs.field(default=(), metadata=_OPTIONAL)


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
