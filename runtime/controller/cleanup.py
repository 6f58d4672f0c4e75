"""The generic cleanup controller: holds resources until what depends on them is gone.

A handler decides what "gone" means: `HasNoOutputs` waits until others have removed the dependents, `RemoveOutputs`
removes them itself, `Combined` calls several.
"""

from collections.abc import Callable, Iterable
from typing import Any, Generic, Protocol, TypeVar

from nodespan.runtime.controller.base import Controller, SkipReconcile
from nodespan.runtime.controller.context import Access, ControllerContext
from nodespan.runtime.controller.declarations import Input, Output, destroy_ready, shared, strong, weak
from nodespan.runtime.errors import NotFoundError
from nodespan.runtime.resource import KindLike, LabelQuery, Resource, kind_of

I = TypeVar("I")  # noqa: E741
I_contra = TypeVar("I_contra", contravariant=True)


class CleanupHandler(Protocol[I_contra]):
    """The work to do before an input may be released. Raises `SkipReconcile` while it must stay."""

    @property
    def inputs(self) -> tuple[Input, ...]: ...
    @property
    def outputs(self) -> tuple[Output, ...]: ...
    async def __call__(self, ctx: Access, input: Resource[I_contra]) -> None: ...


class CleanupController(Controller, Generic[I]):
    """Puts its finalizer on every input, and removes it from a torn-down one when the handler returns."""

    def __init__(self, name: str, *, input: KindLike[I], handler: CleanupHandler[I]) -> None:
        self.name = name
        self._input = kind_of(input)
        self._handler = handler
        self.inputs = (strong(input), *handler.inputs)
        self.outputs = handler.outputs

    async def run(self, ctx: ControllerContext) -> None:
        async for _ in ctx:
            errors: list[Exception] = []
            for input in ctx.list(self._input):
                try:
                    await self._process(ctx, input)
                except SkipReconcile:
                    continue
                except Exception as error:
                    errors.append(error)
            if errors:
                raise ExceptionGroup(f"{self.name}: {len(errors)} of the inputs failed", errors)

    async def _process(self, ctx: ControllerContext, input: Resource[I]) -> None:
        metadata = input.metadata
        if not metadata.is_tearing_down:
            if self.name not in metadata.finalizers:
                await ctx.add_finalizer(self._input, metadata.id)
        elif self.name in metadata.finalizers:
            await self._handler(ctx, input)
            await ctx.remove_finalizer(self._input, metadata.id)


class HasNoOutputs(Generic[I]):
    """Releases an input when no resource of `kind` matches `query(input)`."""

    def __init__(self, kind: KindLike[Any], query: Callable[[Resource[I]], LabelQuery]) -> None:
        self._kind = kind_of(kind)
        self._query = query
        self.inputs: tuple[Input, ...] = (weak(kind),)
        self.outputs: tuple[Output, ...] = ()

    async def __call__(self, ctx: Access, input: Resource[I]) -> None:
        if ctx.list(self._kind, labels=[self._query(input)]):
            raise SkipReconcile


class RemoveOutputs(Generic[I]):
    """Removes the resources of `kind` that match `query(input)`, and releases the input when they are gone.

    Only those without owner, or whose owner is in `owners`, are removed; the others do not hold the input.
    """

    def __init__(
        self, kind: KindLike[Any], query: Callable[[Resource[I]], LabelQuery], *, owners: Iterable[str] = ()
    ) -> None:
        self._kind = kind_of(kind)
        self._query = query
        self._owners = frozenset(owners)
        self.inputs: tuple[Input, ...] = (destroy_ready(kind),)
        self.outputs: tuple[Output, ...] = (shared(kind),)

    async def __call__(self, ctx: Access, input: Resource[I]) -> None:
        waiting = False
        for dependent in ctx.list(self._kind, labels=[self._query(input)]):
            metadata = dependent.metadata
            if metadata.owner and metadata.owner not in self._owners:
                continue
            try:
                if await ctx.teardown(self._kind, metadata.id, owner=metadata.owner):
                    await ctx.destroy(self._kind, metadata.id, owner=metadata.owner)
                else:
                    waiting = True
            except NotFoundError:
                waiting = True
        if waiting:
            raise SkipReconcile


class Combined(Generic[I]):
    """Calls handlers in order; the first that raises ends it.

    Raises ValueError if there is none, or if two of them read one kind in different ways.
    """

    def __init__(self, *handlers: CleanupHandler[I]) -> None:
        if not handlers:
            raise ValueError("a combined cleanup handler needs at least one handler")
        self._handlers = handlers
        inputs: dict[Any, Input] = {}
        outputs: dict[str, Output] = {}
        for handler in handlers:
            for input in handler.inputs:
                if inputs.setdefault(input.kind, input).mode is not input.mode:
                    raise ValueError(f"cleanup handlers declare {input.kind} as inputs of different modes")
            outputs |= {output.type_name: output for output in handler.outputs}
        self.inputs = tuple(inputs.values())
        self.outputs = tuple(outputs.values())

    async def __call__(self, ctx: Access, input: Resource[I]) -> None:
        for handler in self._handlers:
            await handler(ctx, input)
