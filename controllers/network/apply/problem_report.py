"""What the appliers show of their items: a `NetworkProblem` each, and conflicts with other programs."""

import errno
from collections.abc import Collection
from typing import Any

import trio

from nodespan.controllers.common.damping import Damper
from nodespan.controllers.common.problems import Problems, reason_of
from nodespan.controllers.network.apply.disturbances import Disturbances
from nodespan.resources.network import Severity
from nodespan.runtime.controller import Access, Decision, Report
from nodespan.runtime.resource import ResourceType


class ProblemReport(Report):
    """Problems with specs of one type. With a `damper`, only failures that last are logged, and conflicts are shown."""

    _problems: Problems

    def __init__(self, type: ResourceType[Any], damper: Damper | None = None) -> None:
        super().__init__()
        self._type = type
        self._damper = damper
        self._disturbances = Disturbances()
        # Those of which it is shown that they are undone again and again.
        self._conflicts: set[str] = set()

    async def begin(self, ctx: Access, ids: Collection[str]) -> None:
        """Clear what an earlier run showed of specs that are gone."""
        self._problems = Problems(ctx, self._type)
        await self._problems.keep(ids)

    async def changed(self, ctx: Access, id: str) -> None:  # noqa: ARG002
        """What happened to the spec that it was before is over."""
        self._disturbances.forget(id)
        self._conflicts.discard(id)

    async def failed(self, ctx: Access, id: str, error: Exception) -> None:  # noqa: ARG002
        """Show a failure. What an item rests on may be about to come, so only one that lasts is logged."""
        is_lasting = self._damper is None or is_not_permitted(error) or self._damper.has_lasted(id)
        reason = reason_of(error) if isinstance(error, OSError) else str(error)
        await self._problems.set(id, reason, loud=is_lasting)

    async def settled(self, ctx: Access, id: str, decision: Decision[Any]) -> None:  # noqa: ARG002
        """Show what is wrong, what another program has undone, or that it keeps doing so."""
        now = trio.current_time()
        is_damped = self._damper is not None and self._damper.is_damped(id, now)
        if decision.undone:
            self._disturbances.add(id, decision.undone, now)
        if is_damped and decision.instead:
            self._conflicts.add(id)
            text = f"{decision.instead}: another program keeps reverting it; it is restored less and less often"
            await self._problems.set(id, text)
        if decision.work is not None:
            # It is being done, or what is wrong with it was shown when it failed.
            return
        if decision.refused:
            await self._problems.set(id, decision.refused)
        elif decision.waiting:
            await self._problems.set(id, decision.waiting, loud=False)
        elif decision.warning:
            await self._problems.set(id, decision.warning, severity=Severity.WARNING)
        elif not (is_damped and id in self._conflicts):
            self._conflicts.discard(id)
            if undone := self._disturbances.of(id, now):
                await self._problems.set(id, undone, severity=Severity.WARNING)
            else:
                await self._problems.clear(id)

    async def gone(self, ctx: Access, id: str) -> None:  # noqa: ARG002
        """Nothing is wrong with what is gone."""
        self._disturbances.forget(id)
        self._conflicts.discard(id)
        await self._problems.clear(id)


def is_not_permitted(error: Exception) -> bool:
    """Whether an error says that the agent may not change anything, and so has not changed anything either."""
    return isinstance(error, OSError) and error.errno == errno.EPERM
