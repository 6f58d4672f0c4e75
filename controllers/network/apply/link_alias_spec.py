"""network.LinkAliasSpecController: gives links their aliases, and removes those that it gave."""

import functools
from collections.abc import AsyncIterator, Callable, Collection, Hashable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import attrs

from nodespan.controllers.common.prior_state import PriorState
from nodespan.controllers.network.apply.prior_objects import load_record
from nodespan.controllers.network.apply.problem_report import ProblemReport, is_not_permitted
from nodespan.kernel.link_alias import AliasChange, AliasResult, set_aliases
from nodespan.kernel.links import Links
from nodespan.kernel.mirror import look_again
from nodespan.resources.network import (
    LinkAliasSpec,
    LinkAliasSpecSpec,
    LinkStatus,
    LinkStatusSpec,
    NetworkProblem,
)
from nodespan.runtime.backoff import Exponential
from nodespan.runtime.controller import (
    Access,
    Applied,
    Decision,
    Driver,
    Look,
    Plan,
    QueueContext,
    QueueController,
    Reconciler,
    Retries,
    Specs,
    mapped,
    primary,
    shared,
)
from nodespan.runtime.resource import Metadata, Pointer

# What could not be done is retried this often, in seconds.
_RETRIES = Exponential(base=60.0, cap=60.0)

_Results = Mapping[str, tuple[AliasChange, AliasResult]]


class LinkAliasSpecController(QueueController):
    """Aliases that no spec names are never touched. An alias that was there before is put back."""

    name = "network.LinkAliasSpecController"
    inputs = (primary(LinkAliasSpec), mapped(LinkStatus))
    outputs = (shared(NetworkProblem),)
    concurrency = 64

    def __init__(self, *, netns: str | None = None, prior: PriorState | None = None) -> None:
        specs = Specs(LinkAliasSpec)
        memory = _Memory(prior or PriorState(None))
        retries = Retries(_RETRIES)
        self._reconciler = Reconciler(
            desired=specs,
            plan=_AliasPlan(specs, memory),
            driver=_AliasDriver(netns, specs, memory, retries),
            retries=retries,
            report=ProblemReport(LinkAliasSpec),
            is_harmless=is_not_permitted,
        )

    async def reconcile(self, ctx: QueueContext, item: Pointer[Any]) -> None:
        """Have the next round take the spec up, and wait for its end."""
        await self._reconciler.reconcile(ctx, item.id)

    def map_input(self, ctx: QueueContext, changed: Metadata) -> Iterable[Pointer[Any]]:
        """A link concerns the alias of its name."""
        if ctx.find(LinkAliasSpec, changed.id) is not None:
            self._reconciler.touch((changed.id,))
        return ()

    async def run(self, ctx: QueueContext) -> None:
        """Follow specs and links."""
        await self._reconciler.run(ctx)


@attrs.define
class _Memory:
    """The links as their statuses show them, and what was done that these do not show yet."""

    # The record of the aliases that links had before.
    prior: PriorState
    statuses: dict[str, LinkStatusSpec] = attrs.field(factory=dict)
    # What was changed, and what the status was then.
    done: dict[str, tuple[AliasChange, LinkStatusSpec]] = attrs.field(factory=dict)

    def before(self, index: int) -> str | None:
        """The alias that a link had before the agent gave it one, None if it gave it none."""
        found: str | None = self.prior.journal.get(_slot(index))
        return found


class _AliasPlan(Plan[AliasChange]):
    """The change that is missing, unless it was made and the status does not show it yet."""

    def __init__(self, specs: Specs[LinkAliasSpecSpec], memory: _Memory) -> None:
        self._specs = specs
        self._memory = memory

    def everything(self) -> None:
        """Go by the statuses alone, which show everything by now."""
        self._memory.done.clear()

    def changed(self, id: str) -> None:
        """Another alias is another change."""
        self._memory.done.pop(id, None)

    def gone(self, id: str) -> None:
        """Forget the link."""
        self._memory.statuses.pop(id, None)

    def decide(self, id: str) -> Mapping[str, Decision[AliasChange]]:
        """Compare the alias with that of the status."""
        status = self._memory.statuses.get(id)
        if status is None:
            return {id: Decision()}
        if id in self._specs.leaving:
            # Whoever has changed it since decides. The status may not show yet that it was set at all.
            before = self._memory.before(status.index)
            if before is None:
                return {id: Decision()}
            change = AliasChange(index=status.index, alias=before, instead_of=self._specs.leaving[id].alias)
        else:
            change = AliasChange(index=status.index, alias=self._specs.desired[id].alias)
            if status.alias == change.alias and self._memory.before(status.index) is not None:
                return {id: Decision()}
        return {id: Decision() if self._memory.done.get(id) == (change, status) else Decision(work=change)}


class _AliasDriver(Driver[AliasChange, _Results]):
    """Reads the statuses of links, and sets aliases over rtnetlink."""

    _ctx: Access

    def __init__(self, netns: str | None, specs: Specs[LinkAliasSpecSpec], memory: _Memory, retries: Retries) -> None:
        self._netns = netns
        self._specs = specs
        self._memory = memory
        self._retries = retries

    @asynccontextmanager
    async def opened(self, ctx: Access, wake: Callable[[], None]) -> AsyncIterator[None]:  # noqa: ARG002
        """Keeps the access to the statuses, and reads the record."""
        self._ctx = ctx
        await load_record(self._memory.prior)
        yield

    async def observe(self, look: Look) -> Collection[Hashable]:
        """Read the statuses of these links."""
        statuses = self._memory.statuses
        for id in look.ids:
            before = statuses.pop(id, None)
            resource = self._ctx.find(LinkStatus, id)
            done = self._memory.done.get(id)
            if done is not None and (resource is None or resource.spec != done[1]):
                # The status shows what came of it, or what another program did since.
                del self._memory.done[id]
            if resource is not None:
                statuses[id] = resource.spec
                if before is not None and before.index != resource.spec.index:
                    # Another link: what failed with the one before says nothing of it.
                    self._retries.forget(id)
        return ()

    def job(self, work: Mapping[str, AliasChange]) -> Callable[[], Applied[_Results]]:
        """Set these aliases, and note those that links had before."""
        shown = {
            change.index: self._memory.statuses[id].alias for id, change in work.items() if change.instead_of is None
        }
        return functools.partial(_apply, self._netns, self._memory.prior, shown, work)

    async def applied(self, ctx: Access, result: _Results) -> None:  # noqa: ARG002
        """Remember what was done, and have the links read again."""
        for id, (change, done) in result.items():
            if done.error is not None:
                continue
            self._memory.done[id] = (change, self._memory.statuses[id])
        # Of links that are down nobody is notified, and what is to set them up may know them by this alias only.
        await look_again(Links, self._netns, {change.index for change, _ in result.values()})


def _apply(
    netns: str | None, prior: PriorState, shown: Mapping[int, str], work: Mapping[str, AliasChange]
) -> Applied[_Results]:
    """In a worker thread. `shown` are the aliases that links have by their statuses."""
    first = {index: alias for index, alias in shown.items() if prior.journal.get(_slot(index)) is None}
    prior.journal.change({_slot(index): alias for index, alias in first.items()})
    results = set_aliases(netns, list(work.values()))
    # A link that is down shows no change of its alias, so what it had last is right.
    noted = {_slot(index): result.before for index, result in results.items() if index in first}
    given_back = {
        _slot(change.index): None
        for change in work.values()
        if change.instead_of is not None and (done := results.get(change.index)) is not None and done.error is None
    }
    prior.journal.change({**noted, **given_back})
    found = {id: (change, results[change.index]) for id, change in work.items() if change.index in results}
    failed: dict[str, Exception] = {id: done.error for id, (_, done) in found.items() if done.error is not None}
    return Applied(result=found, failed=failed)


def _slot(index: int) -> str:
    return f"alias/{index}"
