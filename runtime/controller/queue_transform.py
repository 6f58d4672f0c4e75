"""The generic queue transform: each input resource becomes one output resource, item by item.

The output's life follows the input's by finalizers: an input is held until its output is gone, so no output is left
behind even if the process ends in between.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar

from nodespan.runtime.controller.base import QueueController, Requeue
from nodespan.runtime.controller.context import QueueContext
from nodespan.runtime.controller.declarations import Input, Output, exclusive, mapped_destroy_ready, primary, shared
from nodespan.runtime.controller.transform import (
    FinalizeFunction,
    OutputId,
    TransformFunction,
    same_id,
    settle,
    write_output,
)
from nodespan.runtime.errors import ConflictError
from nodespan.runtime.resource import Kind, KindLike, LabelQuery, Metadata, Pointer, Resource, ResourceType, kind_of

I = TypeVar("I")  # noqa: E741
O = TypeVar("O")  # noqa: E741

# From a change of an extra input to the ids of the inputs that it concerns.
Mapper = Callable[[QueueContext, Metadata], Iterable[str]]


class DestroyOutput(Exception):  # noqa: N818  # a decision, not an error
    """Raised by a transform if this input has no output at present."""


class QueueTransform(QueueController, Generic[I, O]):
    """Makes one output per input, and destroys it before it releases an input that is torn down.

    `output_id` gives the id of an input's output and `input_id` the way back. `finalize` is called before the output is
    destroyed, and raises to be called again. `extra_inputs` maps declared inputs to functions from what changed to ids
    of inputs. `ignore_teardown_while` names finalizers: while an input carries one of them it is treated as running.
    `ignore_teardown_until` treats it so until nothing but our own finalizer and these is left.

    The transform raises `Requeue` or `SkipReconcile` as any reconciliation does, in which case nothing is written;
    `DestroyOutput` to have no output.
    """

    def __init__(
        self,
        name: str,
        *,
        input: KindLike[I],
        output: KindLike[O],
        transform: TransformFunction[I, O],
        output_id: OutputId[I] = same_id,
        input_id: Callable[[Resource[O]], str] = same_id,
        finalize: FinalizeFunction[I] | None = None,
        concurrency: int = 1,
        shared_output: bool = False,
        extra_inputs: Mapping[Input, Mapper] | None = None,
        extra_outputs: Iterable[Output] = (),
        ignore_teardown_while: Iterable[str] = (),
        ignore_teardown_until: Iterable[str] | None = None,
    ) -> None:
        self.name = name
        self.concurrency = concurrency
        self._input, self._output = kind_of(input), kind_of(output)
        self._spec_class = output.spec_class if isinstance(output, ResourceType) else None
        self._mappers: dict[Kind[Any], Mapper] = {}
        for extra, mapper in (extra_inputs or {}).items():
            if extra.kind in (self._input, self._output) or extra.kind in self._mappers:
                raise ValueError(f"{name}: {extra.kind} has a mapper already")
            self._mappers[extra.kind] = mapper
        self.inputs = (primary(input), mapped_destroy_ready(output), *(extra_inputs or {}))
        self.outputs = ((shared if shared_output else exclusive)(output), *extra_outputs)
        self._transform = transform
        self._output_id = output_id
        self._input_id = input_id
        self._finalize = finalize
        # The outputs of inputs that were torn down before they were held: nothing says when such an input goes.
        self._unheld: dict[str, str] = {}
        self._ignore_while = frozenset(ignore_teardown_while)
        self._ignore_until = None if ignore_teardown_until is None else frozenset(ignore_teardown_until)

    def map_input(self, ctx: QueueContext, changed: Metadata) -> Iterable[Pointer[Any]]:
        kind = Kind(changed.namespace, changed.type)
        if kind == self._output:
            output: Resource[O] | None = ctx.find(self._output, changed.id)
            return () if output is None else (self._input.pointer(self._input_id(output)),)
        return [self._input.pointer(id) for id in self._mappers[kind](ctx, changed)]

    async def reconcile(self, ctx: QueueContext, item: Pointer[Any]) -> None:
        input = ctx.find(self._input, item.id)
        if input is None:
            output = self._unheld.get(item.id)
            if output is not None and await ctx.remove(self._output, output):
                del self._unheld[item.id]
            return
        id = self._output_id(input)
        if id is None:
            return
        metadata = input.metadata
        self._unheld.pop(metadata.id, None)
        if not metadata.is_tearing_down:
            if self.name not in metadata.finalizers:
                await ctx.add_finalizer(self._input, metadata.id)
            await self._write(ctx, input, id)
        elif self._ignores_teardown(metadata):
            if self.name not in metadata.finalizers:
                self._unheld[metadata.id] = id
            await self._write(ctx, input, id)
        else:
            await self._remove(ctx, input, id)

    def _ignores_teardown(self, metadata: Metadata) -> bool:
        if not self._ignore_while.isdisjoint(metadata.finalizers):
            return True
        if self._ignore_until is None:
            return False
        return any(name != self.name and name not in self._ignore_until for name in metadata.finalizers)

    async def _write(self, ctx: QueueContext, input: Resource[I], id: str) -> None:
        output = ctx.find(self._output, id)
        if output is not None and output.metadata.is_tearing_down:
            if output.metadata.finalizers or output.metadata.owner != self.name:
                return
            await ctx.destroy(self._output, id)
        try:
            wanted = self._transform(ctx, input)
            # A spec of the declared class needs neither to be awaited nor to be unpacked.
            if type(wanted) is not self._spec_class:
                wanted = await settle(wanted)
        except DestroyOutput:
            await ctx.remove(self._output, id)
            return
        requeue_after = None
        try:
            if type(wanted) is self._spec_class:
                await ctx.put(self._output, id, wanted)
            else:
                requeue_after = await write_output(ctx, self._output, id, wanted)
        except ConflictError as error:
            # The output is tearing down, or has another owner: its end is a change that calls again.
            if not error.concerns(namespace=self._output.namespace, type=self._output.type):
                raise
            return
        if requeue_after:
            raise Requeue(requeue_after)

    async def _remove(self, ctx: QueueContext, input: Resource[I], id: str) -> None:
        if self._finalize is not None:
            await settle(self._finalize(ctx, input))
        if await ctx.remove(self._output, id):
            await ctx.remove_finalizer(self._input, input.metadata.id)


def map_to_same_id(_ctx: QueueContext, changed: Metadata) -> Iterable[str]:
    """A mapper: the input of the same id."""
    return (changed.id,)


def map_to_nothing(_ctx: QueueContext, _changed: Metadata) -> Iterable[str]:
    """A mapper for an input that is read but whose changes concern no item."""
    return ()


def map_by_label(label: str, *, where: LabelQuery | None = None) -> Mapper:
    """A mapper: the input that a label of the changed resource names, if its labels satisfy the query."""

    def mapper(_ctx: QueueContext, changed: Metadata) -> Iterable[str]:
        id = changed.labels.get(label)
        return () if id is None or not (where is None or where.matches(changed.labels)) else (id,)

    return mapper


def map_resource(kind: KindLike[O], function: Callable[[Resource[O]], Iterable[str]]) -> Mapper:
    """A mapper that gets the whole changed resource; a destroyed one concerns no item."""

    def mapper(ctx: QueueContext, changed: Metadata) -> Iterable[str]:
        resource = ctx.find(kind, changed.id)
        return () if resource is None else function(resource)

    return mapper
