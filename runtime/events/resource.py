"""Event: something that happened to a resource. The id is a number with leading zeros: their order is that in time."""

import datetime

import attrs

from nodespan.runtime.overview.severity import Severity
from nodespan.runtime.resource import ResourceType

NAMESPACE = "runtime"
# The kind of events about the agent itself.
KIND_LIFECYCLE = "agent"
_DIGITS = 16


@attrs.frozen(kw_only=True)
class EventSpec:
    """What happened, and to which resource."""

    time: datetime.datetime
    """When it was noticed, by the wall clock; the times of the metadata are those of the agent's start for events of
    earlier ones.
    """
    severity: Severity = Severity.INFO
    """How much attention it needs."""
    kind: str
    """What events are grouped by for people, such as `link` or `problem`."""
    text: str
    """What happened, in one line."""
    namespace: str = ""
    """The namespace of the resource."""
    type: str = ""
    """The full type of the resource."""
    id: str = ""
    """The id of the resource."""


Event = ResourceType(
    "Events.runtime.nodespan.dev",
    EventSpec,
    namespace=NAMESPACE,
    columns={"Time": ".time", "Severity": ".severity", "Kind": ".kind", "Text": ".text"},
)


def event_id(number: int) -> str:
    """The id of the event of this number."""
    return f"{number:0{_DIGITS}d}"
