"""network.LinkAliasSpecController: gives links their aliases, and takes away those that it gave."""

import errno
from collections.abc import Mapping

import trio

from nodespan.controllers.common.problems import Problems, reason_of
from nodespan.kernel.link_alias import AliasChange, set_aliases
from nodespan.kernel.links import Links
from nodespan.kernel.mirror import look_again
from nodespan.resources.network import LinkAliasSpec, LinkStatus, NetworkProblem
from nodespan.runtime.controller import Controller, ControllerContext, shared, strong, weak

# What could not be done is tried again this often, in seconds.
_RETRY_INTERVAL = 60.0
_NOT_PERMITTED = reason_of(OSError(errno.EPERM, ""))


class LinkAliasSpecController(Controller):
    """Aliases that no spec names are never touched. An alias that was there before is put back."""

    name = "network.LinkAliasSpecController"
    inputs = (strong(LinkAliasSpec), weak(LinkStatus))
    outputs = (shared(NetworkProblem),)

    def __init__(self, *, netns: str | None = None) -> None:
        self._netns = netns
        # What links were called before, by name.
        self._before: dict[str, str] = {}
        # What could not be done, and why, by the ids of the specs.
        self._failed: dict[str, tuple[AliasChange, str]] = {}

    async def run(self, ctx: ControllerContext) -> None:
        """Follow specs and links."""
        problems = Problems(ctx, LinkAliasSpec)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._retry, ctx)
            async for _ in ctx:
                await self._turn(ctx, problems)

    async def _retry(self, ctx: ControllerContext) -> None:
        while True:
            await trio.sleep(_RETRY_INTERVAL)
            self._failed.clear()
            ctx.wake()

    async def _turn(self, ctx: ControllerContext, problems: Problems) -> None:
        changes: dict[str, AliasChange] = {}
        leaving: list[str] = []
        for resource in ctx.list(LinkAliasSpec):
            id, alias = resource.id, resource.spec.alias
            status = ctx.find(LinkStatus, id)
            is_held = ctx.name in resource.metadata.finalizers
            if resource.metadata.is_tearing_down:
                if is_held:
                    leaving.append(id)
                    if status is not None:
                        # Whoever has changed it since decides.
                        before = self._before.get(id, "")
                        changes[id] = AliasChange(index=status.spec.index, alias=before, instead_of=alias)
                continue
            if not is_held:
                await ctx.add_finalizer(LinkAliasSpec, id)
            if status is not None and status.spec.alias != alias:
                changes[id] = AliasChange(index=status.spec.index, alias=alias)
        done = await self._set(changes)
        for id in leaving:
            if id in self._failed and self._failed[id][1] != _NOT_PERMITTED:
                continue
            self._before.pop(id, None)
            self._failed.pop(id, None)
            await ctx.remove_finalizer(LinkAliasSpec, id)
        if done or leaving:
            shown = {id: reason for id, (_, reason) in self._failed.items()}
            await problems.show(shown, loud=frozenset(shown))

    async def _set(self, changes: Mapping[str, AliasChange]) -> bool:
        """Make these changes, but for what has failed lately; returns whether anything was done."""
        new = {id: change for id, change in changes.items() if self._failed.get(id, (None, ""))[0] != change}
        if not new:
            return False
        results = await trio.to_thread.run_sync(set_aliases, self._netns, list(new.values()))
        # Of links that are down nobody is told, and what is to set them up may know them by this alias only.
        await look_again(Links, self._netns, results.keys())
        for id, change in new.items():
            result = results.get(change.index)
            self._failed.pop(id, None)
            if result is not None and result.error is not None:
                self._failed[id] = (change, reason_of(result.error))
            elif result is not None and change.instead_of is None and result.before != change.alias:
                self._before.setdefault(id, result.before)
        return True
