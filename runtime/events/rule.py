"""Rules: what changes of a resource mean to people. Installed packages add theirs by an entry point."""

from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

import attrs

from nodespan.runtime import installed
from nodespan.runtime.controller import Logger, primary
from nodespan.runtime.events.resource import EventSpec
from nodespan.runtime.overview.severity import Severity
from nodespan.runtime.resource import Resource, ResourceType

GROUP = "nodespan.events"
S = TypeVar("S")


@attrs.frozen
class Happening:
    """What happened, in one line.

    `is_new` happenings are always recorded. Of the others, the first that is seen of a resource after a start is left
    out if the last recorded event of the same kind about it says the same: a restart of the agent changed nothing.
    """

    kind: str
    text: str
    severity: Severity = Severity.INFO
    is_new: bool = False


def nothing_ended(_last: EventSpec) -> Happening | None:
    """`ended` for types of which nothing is to be said."""
    return None


@attrs.frozen(kw_only=True)
class EventRule(Generic[S]):
    """What the changes of one type mean.

    `describe` gets a resource as it was and as it is, None where it does not exist, and returns what happened; it is
    pure and quick, for it runs at every change of the type, most of which mean nothing. `ended` is called once after
    the start, when the controllers have published what they observe, with the last event about each resource that does
    not exist (any more); it says what that means, None for nothing. With `settle` a change counts only once it is so
    many seconds old: what comes and goes within them, as problems do while things start in no particular order, is no
    event. Fields of the spec that `describe` does not read may be named in `ignoring`: it does not run for an update of
    nothing else. Raises RegistrationError for what is no field.
    """

    type: ResourceType[S]
    describe: Callable[[Resource[S] | None, Resource[S] | None], Iterable[Happening]]
    ended: Callable[[EventSpec], Happening | None] = nothing_ended
    settle: float = 0.0
    ignoring: tuple[str, ...] = ()

    def __attrs_post_init__(self) -> None:
        # Where it is made, so that one package's mistake is no other's.
        primary(self.type, ignoring=self.ignoring)


def load_rules(log: Logger) -> list[EventRule[Any]]:
    """The rules of all installed packages. An entry point that cannot be loaded is logged and left out."""
    found: list[EventRule[Any]] = []
    for entry_point in sorted(installed.entry_points(GROUP), key=lambda point: point.name):
        where = f"entry point {entry_point.name!r} = {entry_point.value!r}"
        try:
            rules = list(entry_point.load())
            for rule in rules:
                if not isinstance(rule, EventRule):
                    raise TypeError(f"{where} has {rule!r}: expected rules (EventRule)")
            found += rules
        except Exception:
            log.exception("the rules for events of an installed package cannot be loaded", entry_point=where)
    return found
