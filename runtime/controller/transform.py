"""The generic transform: each input resource becomes one output resource, which is destroyed with it.

    async def transform(ctx, input): return the spec of the output, or a Draft, which has labels too

Every turn reads all inputs; where there may be many, use `QueueTransform`, which reads those that changed.
"""

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Generic, TypeAlias, TypeVar

import attrs
import trio

from nodespan.runtime.controller.base import Controller, SkipReconcile
from nodespan.runtime.controller.context import Access, ControllerContext
from nodespan.runtime.controller.declarations import Input, Output, destroy_ready, exclusive, shared, strong, weak
from nodespan.runtime.errors import ConflictError, NotFoundError
from nodespan.runtime.resource import Kind, KindLike, LabelQuery, Resource, kind_of

I = TypeVar("I")  # noqa: E741
O = TypeVar("O")  # noqa: E741
T = TypeVar("T")


@attrs.frozen
class Draft(Generic[O]):
    """An output's spec, labels and annotations; those that are None stay as they are.

    With `requeue_after`, a queue transform is called again so many seconds after the output was written.
    """

    spec: O
    labels: Mapping[str, str] | None = None
    annotations: Mapping[str, str] | None = None
    requeue_after: float | None = None


# The result of a transform's function: a value, or an awaitable of one.
Eventually: TypeAlias = Awaitable[T] | T
TransformFunction = Callable[[Access, Resource[I]], Eventually[O | Draft[O]]]
# Called before the controller releases an input that is torn down; raises to keep it.
FinalizeFunction = Callable[[Access, Resource[I]], Eventually[None]]
# The id of the output for an input; None: this input has none.
OutputId = Callable[[Resource[I]], str | None]


async def settle(result: Eventually[T]) -> T:
    """The value that a transform's function returned, awaited if need be."""
    if inspect.isawaitable(result):
        return await result
    return result


def same_id(resource: Resource[Any]) -> str:
    """The output has its input's id."""
    return resource.metadata.id


async def write_output(ctx: Access, kind: Kind[O], id: str, wanted: O | Draft[O]) -> float | None:
    """Write the output; returns after how many seconds to call the transform again."""
    if isinstance(wanted, Draft):
        await ctx.put(kind, id, wanted.spec, labels=wanted.labels, annotations=wanted.annotations)
        return wanted.requeue_after
    await ctx.put(kind, id, wanted)
    return None


class Transform(Controller, Generic[I, O]):
    """Makes one output per input, and tears it down when the input is torn down or destroyed.

    `finalize` makes the controller hold its inputs by a finalizer (its own name): an input that is torn down is let go
    of when `finalize` has returned and the output is gone. `ignore_tearing_down` treats torn-down inputs as live ones.
    `before` and `after` are called in every turn, `shutdown` whenever the routine ends, be it to be restarted; `events`
    runs beside and calls the function that it is given to have a turn. The output is exclusive unless `shared_output`.

    An error in one input does not prevent the others from being processed; the turn then ends with all the errors.
    """

    def __init__(
        self,
        name: str,
        *,
        input: KindLike[I],
        output: KindLike[O],
        transform: TransformFunction[I, O],
        output_id: OutputId[I] = same_id,
        finalize: FinalizeFunction[I] | None = None,
        ignore_tearing_down: bool = False,
        shared_output: bool = False,
        extra_inputs: Iterable[Input] = (),
        extra_outputs: Iterable[Output] = (),
        labels: Iterable[LabelQuery] = (),
        id_query: str | None = None,
        before: Callable[[Access], Eventually[None]] | None = None,
        after: Callable[[Access], Eventually[None]] | None = None,
        shutdown: Callable[[], None] | None = None,
        events: Callable[[Callable[[], None]], Awaitable[None]] | None = None,
    ) -> None:
        if finalize is not None and ignore_tearing_down:
            raise ValueError(f"{name}: an input whose teardown is ignored cannot be finalized, give one or the other")
        self.name = name
        self._input, self._output = kind_of(input), kind_of(output)
        own = [strong(input) if finalize else weak(input)]
        if self._input != self._output:
            own.append(destroy_ready(output))
        self.inputs = (*own, *extra_inputs)
        self.outputs = ((shared if shared_output else exclusive)(output), *extra_outputs)
        self._transform = transform
        self._output_id = output_id
        self._finalize = finalize
        self._ignore_tearing_down = ignore_tearing_down
        self._labels, self._id_query = tuple(labels), id_query
        self._before, self._after, self._shutdown, self._events = before, after, shutdown, events

    async def run(self, ctx: ControllerContext) -> None:
        try:
            if self._events is None:
                await self._loop(ctx)
            else:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._events, ctx.wake)
                    await self._loop(ctx)
        finally:
            if self._shutdown is not None:
                self._shutdown()

    async def _loop(self, ctx: ControllerContext) -> None:
        async for _ in ctx:
            if self._before is not None:
                await settle(self._before(ctx))
            errors: list[Exception] = []
            touched: set[str] = set()
            released: dict[str, list[str]] = {}
            for input in ctx.list(self._input, labels=self._labels, id_query=self._id_query):
                try:
                    await self._process(ctx, input, touched, released)
                except SkipReconcile:
                    continue
                except Exception as error:
                    errors.append(error)
            errors += await self._cleanup(ctx, touched, released)
            if self._after is not None:
                await settle(self._after(ctx))
            if errors:
                raise ExceptionGroup(f"{self.name}: {len(errors)} of the inputs or outputs failed", errors)

    async def _process(
        self, ctx: ControllerContext, input: Resource[I], touched: set[str], released: dict[str, list[str]]
    ) -> None:
        id = self._output_id(input)
        if id is None:
            return
        if input.metadata.is_tearing_down and not self._ignore_tearing_down:
            if self._finalize is not None and self.name in input.metadata.finalizers:
                try:
                    await settle(self._finalize(ctx, input))
                except Exception:
                    touched.add(id)
                    raise
                released.setdefault(id, []).append(input.metadata.id)
            return
        touched.add(id)
        if self._finalize is not None and self.name not in input.metadata.finalizers:
            await ctx.add_finalizer(self._input, input.metadata.id)
        wanted = await settle(self._transform(ctx, input))
        try:
            await write_output(ctx, self._output, id, wanted)
        except ConflictError as error:
            # The output is tearing down, or has another owner: there is nothing to do until it is gone.
            if not error.concerns(namespace=self._output.namespace, type=self._output.type):
                raise

    async def _cleanup(
        self, ctx: ControllerContext, touched: set[str], released: dict[str, list[str]]
    ) -> list[Exception]:
        """Tear down outputs without an input, then release the inputs whose outputs are gone."""
        errors: list[Exception] = []
        for output in ctx.list(self._output):
            metadata = output.metadata
            if metadata.owner != self.name:
                released.pop(metadata.id, None)
                continue
            if metadata.id in touched and not metadata.is_tearing_down:
                continue
            try:
                if await ctx.teardown(self._output, metadata.id):
                    await ctx.destroy(self._output, metadata.id)
                else:
                    released.pop(metadata.id, None)
            except NotFoundError:
                continue
            except Exception as error:
                released.pop(metadata.id, None)
                errors.append(error)
        for inputs in released.values():
            for id in inputs:
                await ctx.remove_finalizer(self._input, id)
        return errors
