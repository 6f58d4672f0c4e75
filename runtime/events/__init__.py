"""Events: what happened lately, as resources that outlive the agent.

A controller cannot learn what happened, only what is: wake-ups are marks, not history. So an event is a difference
between two states of a resource, found by a rule for its type. A rule is a pure function; which types have one is a
table that packages contribute to by the entry-point group `nodespan.events`, and a change of any other type costs
nothing. What comes and goes between two looks of the observer, which are as close as it can be woken, is no event.

The events are a ring of resources of the type `Event`, the oldest ones making room, so whatever reads and watches
resources reads and watches them. A file in the state directory keeps the ring over restarts.
"""

from nodespan.runtime.events.observer import EventController, controllers
from nodespan.runtime.events.resource import KIND_LIFECYCLE, Event, EventSpec
from nodespan.runtime.events.rule import GROUP, EventRule, Happening
from nodespan.runtime.overview.severity import Severity

__all__ = [
    "GROUP",
    "KIND_LIFECYCLE",
    "Event",
    "EventController",
    "EventRule",
    "EventSpec",
    "Happening",
    "Severity",
    "controllers",
]
