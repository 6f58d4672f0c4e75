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
    """The candidate names by rule, "" if a rule gives none, and the chosen one.

    `name` is the chosen name, `rule` the deciding rule, `reason` why the link keeps its own. The
    alternative names are the other valid candidates.
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
