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
    """What happened, and to which resource (by namespace, full type and id).

    `time` is the wall clock's when it was noticed; that of the metadata is the start of the agent for events of earlier
    ones. `kind` groups events for people: `link`, `problem`. `text` is one line.
    """

    time: datetime.datetime
    severity: Severity = Severity.INFO
    kind: str
    text: str
    namespace: str = ""
    type: str = ""
    id: str = ""


Event = ResourceType(
    "Events.runtime.nodespan.dev",
    EventSpec,
    namespace=NAMESPACE,
    columns={"Time": ".time", "Severity": ".severity", "Kind": ".kind", "Text": ".text"},
)


def event_id(number: int) -> str:
    """The id of the event of this number."""
    return f"{number:0{_DIGITS}d}"
