"""network.LinkAliasSpecController: gives links their aliases, and removes those that it gave."""

import functools
from collections.abc import AsyncIterator, Callable, Collection, Hashable, Iterable, Mapping
from contextlib import asynccontextmanager

from nodespan.controllers.common.prior_state import PriorState
from nodespan.controllers.network.apply.applier import Applier
from nodespan.controllers.network.apply.interests import LinkNamed
from nodespan.controllers.network.apply.kernel_access import KernelAccess, NetworkNamespace
from nodespan.controllers.network.apply.link_follower import LinkFollower
from nodespan.controllers.network.apply.prior_objects import load_record
from nodespan.kernel.changes.link_alias import AliasChange, set_aliases
from nodespan.kernel.link_lookup import LinkTable
from nodespan.kernel.links import LINKS_WITHOUT_QUEUES, Links
from nodespan.kernel.mirror import look_again
from nodespan.resources.network import LinkAliasSpec, LinkAliasSpecSpec
from nodespan.runtime.controller import Access, Applied, Decision, Driver, Look, Plan, Specs

# The indexes of the links that a worker was given changes for.
_Links = frozenset[int]


class LinkAliasSpecController(Applier[LinkAliasSpecSpec, AliasChange, _Links]):
    """Aliases that no spec names are never touched. An alias that was there before is restored."""

    name = "network.LinkAliasSpecController"

    def __init__(
        self, *, netns: str | None = None, kernel: KernelAccess | None = None, prior: PriorState | None = None
    ) -> None:
        specs = Specs(LinkAliasSpec)
        record = prior or PriorState(None)
        driver = _AliasDriver(kernel or NetworkNamespace(netns), record)
        super().__init__(specs, _AliasPlan(specs, driver.links, record), driver)


class _AliasPlan(Plan[AliasChange]):
    """Compares the alias of the link by the name of each spec."""

    def __init__(self, specs: Specs[LinkAliasSpecSpec], links: LinkTable, prior: PriorState) -> None:
        self._specs = specs
        self._links = links
        self._prior = prior

    def concerned(self, topics: Iterable[Hashable]) -> set[str]:
        """The spec of a link is the one of its name."""
        return {topic.name for topic in topics if isinstance(topic, LinkNamed)}

    def decide(self, id: str) -> Mapping[str, Decision[AliasChange]]:
        """Compare the alias with the desired one, or if the spec leaves, with the one before the agent's."""
        link = self._links.real(id)
        if link is None:
            return {id: Decision()}
        index, alias = link.status.index, link.status.alias
        before = self._prior.journal.get(_slot(index))
        if id in self._specs.leaving:
            if before is None:
                # The agent gave it none.
                return {id: Decision()}
            change = AliasChange(index=index, alias=before, instead_of=self._specs.leaving[id].alias)
        else:
            change = AliasChange(index=index, alias=self._specs.desired[id].alias)
            if alias == change.alias and before is not None:
                return {id: Decision()}
        return {id: Decision(work=change, instead=f"its alias is {alias}" if alias else "it has no alias")}


class _AliasDriver(Driver[AliasChange, _Links]):
    """A mirror of the links; aliases are set over rtnetlink."""

    _follower: LinkFollower

    def __init__(self, kernel: KernelAccess, prior: PriorState) -> None:
        self.links = LinkTable()
        self._kernel = kernel
        self._prior = prior

    @asynccontextmanager
    async def opened(self, ctx: Access, wake: Callable[[], None]) -> AsyncIterator[None]:  # noqa: ARG002
        """Reads the record, and opens the mirror."""
        await load_record(self._prior)
        async with self._kernel.mirror(Links(), wake, LINKS_WITHOUT_QUEUES) as links:
            # Those of an earlier run.
            for index in tuple(self.links):
                self.links.set(index, None)
            self._follower = LinkFollower(links, self.links)
            yield

    async def observe(self, look: Look) -> Collection[Hashable]:  # noqa: ARG002
        """The links that changed."""
        return await self._follower.take()

    def job(self, work: Mapping[str, AliasChange]) -> Callable[[], Applied[_Links]]:
        """Set these aliases, and record those that links had before."""
        observed = {
            change.index: self.links[change.index].status.alias
            for change in work.values()
            if change.instead_of is None and change.index in self.links
        }
        return functools.partial(_apply, self._kernel, self._prior, observed, work)

    async def applied(self, ctx: Access, result: _Links) -> None:  # noqa: ARG002
        """Have the links read again: the kernel does not notify of the alias of a link that is down."""
        await look_again(Links, self._kernel.netns, result)


def _apply(
    access: KernelAccess, prior: PriorState, observed: Mapping[int, str], work: Mapping[str, AliasChange]
) -> Applied[_Links]:
    """In a worker thread. `observed` are the aliases of links that are to get one."""
    first = {index: alias for index, alias in observed.items() if prior.journal.get(_slot(index)) is None}
    # Recorded before the change, because the process may be killed in between.
    prior.journal.change({_slot(index): alias for index, alias in first.items()})
    with access.open() as kernel:
        results = set_aliases(kernel, work.values())
    # The mirror may be behind, so what the worker has read is right.
    noted = {_slot(index): result.before for index, result in results.items() if index in first}
    given_back = {
        _slot(change.index): None
        for change in work.values()
        if change.instead_of is not None and (done := results.get(change.index)) is not None and done.error is None
    }
    prior.journal.change({**noted, **given_back})
    found = {id: results[change.index] for id, change in work.items() if change.index in results}
    failed: dict[str, Exception] = {id: done.error for id, done in found.items() if done.error is not None}
    return Applied(result=frozenset(change.index for change in work.values()), failed=failed)


def _slot(index: int) -> str:
    return f"alias/{index}"
