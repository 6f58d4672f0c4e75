"""The generic grouping: inputs that belong together become one output, and a change of one touches its group only."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar

from nodespan.runtime.controller import QueueContext, QueueController, exclusive, mapped_destroy_ready, primary, shared
from nodespan.runtime.resource import KindLike, Metadata, Pointer, kind_of

I = TypeVar("I")  # noqa: E741
O = TypeVar("O")  # noqa: E741


class Grouping(QueueController, Generic[I, O]):
    """Makes one output per group, with the group's name as its id.

    `group` names the group of an input, "" for none. `combine` makes the output of a group's inputs, which it is given
    in the order of their ids. An output with another owner is left alone. Outputs go through teardown, so that
    others may hold them by finalizers.
    """

    def __init__(
        self,
        name: str,
        *,
        input: KindLike[I],
        output: KindLike[O],
        group: Callable[[I], str],
        combine: Callable[[Sequence[I]], O],
        shared_output: bool = False,
    ) -> None:
        self.name = name
        self.inputs = (primary(input), mapped_destroy_ready(output))
        self.outputs = ((shared if shared_output else exclusive)(output),)
        self._input, self._output = kind_of(input), kind_of(output)
        self._group, self._combine = group, combine
        self._group_of: dict[str, str] = {}
        self._members: defaultdict[str, set[str]] = defaultdict(set)
        # Groups whose output has finalizers, each with the input to reconcile once they are removed.
        self._held: dict[str, str] = {}

    def map_input(self, ctx: QueueContext, changed: Metadata) -> Iterable[Pointer[Any]]:  # noqa: ARG002
        """An output was released."""
        waiting = self._held.get(changed.id)
        return () if waiting is None else (self._input.pointer(waiting),)

    async def run(self, ctx: QueueContext) -> None:
        """Remove outputs of an earlier process that no input accounts for."""
        groups = {self._group(input.spec) for input in ctx.list(self._input)}
        for output in ctx.list(self._output):
            if output.metadata.owner == self.name and output.metadata.id not in groups:
                await self._write(ctx, output.metadata.id, output.metadata.id)

    async def reconcile(self, ctx: QueueContext, item: Pointer[Any]) -> None:
        """An input came, changed or went: its group, and the one it left, are made again."""
        before, after = self._group_of.pop(item.id, ""), self._current_group(ctx, item.id)
        if before:
            self._members[before].discard(item.id)
        if after:
            self._group_of[item.id] = after
            self._members[after].add(item.id)
        held = [group for group, waiting in self._held.items() if waiting == item.id]
        for group in dict.fromkeys((before, after, *held)):
            if group:
                await self._write(ctx, group, item.id)

    def _current_group(self, ctx: QueueContext, id: str) -> str:
        found = ctx.find(self._input, id)
        return "" if found is None or found.metadata.is_tearing_down else self._group(found.spec)

    async def _write(self, ctx: QueueContext, group: str, item_id: str) -> None:
        output = ctx.find(self._output, group)
        if output is not None and output.metadata.owner != self.name:
            return
        # Members that have left by now are still to be reconciled, each in its own turn.
        members = [id for id in sorted(self._members[group]) if self._current_group(ctx, id) == group]
        if not self._members[group]:
            del self._members[group]
        if output is not None and (not members or output.metadata.is_tearing_down):
            if not await ctx.teardown(self._output, group):
                self._held[group] = item_id
                return
            await ctx.destroy(self._output, group)
        self._held.pop(group, None)
        if members:
            await ctx.put(self._output, group, self._combine([ctx.get(self._input, id).spec for id in members]))
