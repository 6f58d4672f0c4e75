"""Outputs that many parts of a configuration ask for: a part that changed touches only what it asked for."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import attrs

from nodespan.controllers.common.problems import Problems
from nodespan.resources.network.problem import Severity
from nodespan.runtime.controller.context import Access
from nodespan.runtime.resource import KindLike, ResourceType

P = TypeVar("P")
W = TypeVar("W")
S = TypeVar("S")

# How parts are told apart; their order is the order in which they are heard.
PartKey = tuple[Any, ...]


@attrs.frozen(kw_only=True)
class Asked(Generic[W]):
    """What one part asks for, by the ids of the outputs, and what is wrong with it, by ids of its own.

    Several parts may ask for one output. `warnings` are about what may come right without another configuration.
    """

    wishes: tuple[tuple[str, W], ...] = ()
    problems: tuple[tuple[str, str], ...] = ()
    warnings: tuple[tuple[str, str], ...] = ()


class Derived(Generic[W, S]):
    """The outputs of one kind that a controller derives from parts.

    One that is not asked for any more, but held by a finalizer, is torn down and waits, also if it is asked for again:
    where that may be, declare the type as a destroy-ready input, which gives a turn when it is let go.
    """

    def __init__(
        self,
        ctx: Access,
        type: ResourceType[S],
        namespace: str,
        combine: Callable[[Sequence[W]], S],
    ) -> None:
        self._ctx = ctx
        self._kind: KindLike[S] = type.within(namespace)
        self._combine = combine
        self._problems = Problems(ctx, type)
        self._context: Hashable = None
        self._parts: dict[PartKey, Any] = {}
        self._asked: dict[PartKey, Asked[W]] = {}
        # Who asks for an output, and what.
        self._wishes: defaultdict[str, dict[PartKey, list[W]]] = defaultdict(dict)
        # What is to be written; what somebody holds stays here.
        self._touched: set[str] = set()
        self._problems_changed = True
        self._begun = False

    async def follow(
        self, parts: Mapping[PartKey, P], ask: Callable[[P], Asked[W]], *, context: Hashable = None
    ) -> None:
        """Make the outputs be what these parts ask for, and no others. `context` as in `change`.

        The first call also removes what an earlier run of the controller left.
        """
        await self.change({**dict.fromkeys(self._parts), **parts}, ask, context=context)
        if not self._begun:
            self._begun = True
            left = (output for output in self._ctx.list(self._kind) if output.metadata.owner == self._ctx.name)
            self._touched |= {output.id for output in left if output.id not in self._wishes}
            await self._write_touched()

    async def change(
        self, parts: Mapping[PartKey, P | None], ask: Callable[[P], Asked[W]], *, context: Hashable = None
    ) -> None:
        """Some parts are like this now, None for those that have gone; the others are as they were.

        `context` is all else that the answer of `ask` depends on: with another one, all parts are asked again.
        """
        anew = context != self._context
        self._context = context
        for key, part in ({**self._parts, **parts} if anew else parts).items():
            known = self._parts.get(key)
            if part is None:
                self._parts.pop(key, None)
                self._hear(key, Asked())
            elif anew or known is None or not (known is part or known == part):
                self._parts[key] = part
                self._hear(key, ask(part))
        await self._write_touched()
        if self._problems_changed:
            await self._show_problems()
            self._problems_changed = False

    def _hear(self, key: PartKey, asked: Asked[W]) -> None:
        """Note what a part asks for now."""
        before = self._asked.pop(key, Asked[W]())
        if asked != Asked():
            self._asked[key] = asked
        self._problems_changed |= (asked.problems, asked.warnings) != (before.problems, before.warnings)
        if asked.wishes == before.wishes:
            return
        for id, _ in before.wishes:
            self._touched.add(id)
            self._wishes[id].pop(key, None)
        for id, wish in asked.wishes:
            self._touched.add(id)
            self._wishes[id].setdefault(key, []).append(wish)

    async def _show_problems(self) -> None:
        shown = {id: (text, Severity.WARNING) for asked in self._asked.values() for id, text in asked.warnings}
        shown |= {id: (text, Severity.ERROR) for asked in self._asked.values() for id, text in asked.problems}
        await self._problems.keep(shown)
        for id, (text, severity) in shown.items():
            await self._problems.set(id, text, severity=severity)

    async def _write_touched(self) -> None:
        for id in sorted(self._touched):
            if await self._write(id):
                self._touched.discard(id)

    async def _write(self, id: str) -> bool:
        """Make one output be as it is asked for; returns whether it is."""
        asking = self._wishes.get(id)
        current = self._ctx.find(self._kind, id)
        is_leaving = current is not None and current.metadata.is_tearing_down
        if (is_leaving or not asking) and not await self._ctx.remove(self._kind, id):
            return False
        if asking:
            wishes = [wish for key in sorted(asking) for wish in asking[key]]
            await self._ctx.put(self._kind, id, self._combine(wishes))
        else:
            self._wishes.pop(id, None)
        return True


def last(wishes: Sequence[W]) -> W:
    """Where only one of several equal wishes can be granted."""
    return wishes[-1]
