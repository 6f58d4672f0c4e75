"""Outputs that many parts of a configuration request: a part that changed touches only what it requested."""

import itertools
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

# Identifies a part. Requests for one output are combined in the order of these keys.
PartKey = tuple[Any, ...]


@attrs.frozen(kw_only=True)
class Requested(Generic[W]):
    """What one part requests: `outputs` by their ids, and what is invalid in it, by ids of its own.

    Several parts may request one output. `warnings` may go away without another configuration.
    """

    outputs: tuple[tuple[str, W], ...] = ()
    problems: tuple[tuple[str, str], ...] = ()
    warnings: tuple[tuple[str, str], ...] = ()


@attrs.frozen(kw_only=True)
class Claim(Generic[W]):
    """A part, by its key, and what it requests of an output."""

    key: PartKey
    part: Any
    output: W


def _agreeing(one: Claim[Any], other: Claim[Any]) -> str:  # noqa: ARG001
    return ""


class DerivedOutputs(Generic[W, S]):
    """The outputs of one type that a controller derives from parts, and the problems of the parts.

    `conflict` says what two parts contradict each other in, "" for nothing; that is a problem of the output. The later
    of the two parts comes second.

    An output that is no longer requested, but held by a finalizer, is torn down and waits, even if it is requested
    again: where that may happen, declare the type as a destroy-ready input, which gives a turn when it is released.
    """

    def __init__(
        self,
        ctx: Access,
        type: ResourceType[S],
        namespace: str,
        combine: Callable[[Sequence[W]], S],
        conflict: Callable[[Claim[W], Claim[W]], str] = _agreeing,
    ) -> None:
        self._ctx = ctx
        self._kind: KindLike[S] = type.within(namespace)
        self._combine = combine
        self._conflict = conflict
        self._problems = Problems(ctx, type)
        self._depends_on: Hashable = None
        self._parts: dict[PartKey, Any] = {}
        self._requested: dict[PartKey, Requested[W]] = {}
        # By output, then by part.
        self._requests: defaultdict[str, dict[PartKey, list[W]]] = defaultdict(dict)
        # Outputs still to be written; one that is held by a finalizer stays here.
        self._touched: set[str] = set()
        # What parts contradict each other in, by output.
        self._conflicts: dict[str, str] = {}
        self._problems_changed = True
        self._begun = False

    async def follow(
        self, parts: Mapping[PartKey, P], request: Callable[[P], Requested[W]], *, depends_on: Hashable = None
    ) -> None:
        """Make the outputs those that these parts request, and no others. `depends_on` as in `change`.

        The first call also removes what an earlier run of the controller left.
        """
        await self.change({**dict.fromkeys(self._parts), **parts}, request, depends_on=depends_on)
        if not self._begun:
            self._begun = True
            left = (output for output in self._ctx.list(self._kind) if output.metadata.owner == self._ctx.name)
            self._touched |= {output.id for output in left if output.id not in self._requests}
            await self._write_touched()

    async def change(
        self, parts: Mapping[PartKey, P | None], request: Callable[[P], Requested[W]], *, depends_on: Hashable = None
    ) -> None:
        """Replace some parts, or remove those that are None; all others stay.

        `depends_on` is all else that the result of `request` depends on: if it changes, `request` is called for every
        part again.
        """
        is_all = depends_on != self._depends_on
        self._depends_on = depends_on
        for key, part in ({**self._parts, **parts} if is_all else parts).items():
            known = self._parts.get(key)
            if part is None:
                self._parts.pop(key, None)
                self._note(key, Requested())
            elif is_all or known is None or not (known is part or known == part):
                self._parts[key] = part
                self._note(key, request(part))
        await self._write_touched()
        if self._problems_changed:
            await self._show_problems()
            self._problems_changed = False

    def _note(self, key: PartKey, requested: Requested[W]) -> None:
        """Note what a part requests now."""
        before = self._requested.pop(key, Requested[W]())
        if requested != Requested():
            self._requested[key] = requested
        self._problems_changed |= (requested.problems, requested.warnings) != (before.problems, before.warnings)
        if requested.outputs == before.outputs:
            return
        for id, _ in before.outputs:
            self._touched.add(id)
            self._requests[id].pop(key, None)
        for id, output in requested.outputs:
            self._touched.add(id)
            self._requests[id].setdefault(key, []).append(output)

    async def _show_problems(self) -> None:
        every = self._requested.values()
        shown = {id: (text, Severity.WARNING) for requested in every for id, text in requested.warnings}
        shown |= {id: (text, Severity.ERROR) for id, text in self._conflicts.items()}
        shown |= {id: (text, Severity.ERROR) for requested in every for id, text in requested.problems}
        await self._problems.keep(shown)
        for id, (text, severity) in shown.items():
            await self._problems.set(id, text, severity=severity)

    async def _write_touched(self) -> None:
        for id in sorted(self._touched):
            self._note_conflict(id)
            if await self._write(id):
                self._touched.discard(id)

    def _note_conflict(self, id: str) -> None:
        """Compare what several parts request of one output."""
        requests = self._requests.get(id, {})
        text = ""
        if len(requests) > 1:
            claims = [
                Claim(key=key, part=self._parts[key], output=output)
                for key in sorted(requests)
                for output in requests[key]
            ]
            pairs = ((one, other) for one, other in itertools.combinations(claims, 2) if one.key != other.key)
            text = next(filter(None, (self._conflict(*pair) for pair in pairs)), "")
        if text != self._conflicts.get(id, ""):
            self._problems_changed = True
            self._conflicts[id] = text
            if not text:
                del self._conflicts[id]

    async def _write(self, id: str) -> bool:
        """Make one output what is requested of it; returns whether it is."""
        requests = self._requests.get(id)
        current = self._ctx.find(self._kind, id)
        is_leaving = current is not None and current.metadata.is_tearing_down
        if (is_leaving or not requests) and not await self._ctx.remove(self._kind, id):
            return False
        if requests:
            outputs = [output for key in sorted(requests) for output in requests[key]]
            await self._ctx.put(self._kind, id, self._combine(outputs))
        else:
            self._requests.pop(id, None)
        return True


def last(requests: Sequence[W]) -> W:
    """The last of several requests for one output, where they cannot be combined."""
    return requests[-1]
