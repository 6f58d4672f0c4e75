"""The State interface and its kinds."""

from nodespan.runtime.state.base import (
    ANY_PHASE,
    AnyPhase,
    ExpectedPhase,
    Mutate,
    Outage,
    Sink,
    State,
    View,
    count_by_type,
)
from nodespan.runtime.state.events import Event, EventType, Watch
from nodespan.runtime.state.memory import MemoryState

__all__ = [
    "ANY_PHASE",
    "AnyPhase",
    "Event",
    "EventType",
    "ExpectedPhase",
    "MemoryState",
    "Mutate",
    "Outage",
    "Sink",
    "State",
    "View",
    "Watch",
    "count_by_type",
]
