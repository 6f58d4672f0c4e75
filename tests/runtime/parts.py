"""Small controllers that the tests of the engine are made of."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import structlog

from nodespan.runtime.controller import (
    Access,
    Controller,
    ControllerContext,
    Input,
    Output,
    QueueContext,
    QueueController,
)
from nodespan.runtime.resource import Kind, Metadata, Pointer, Resource
from nodespan.runtime.state import State
from nodespan.runtime.testing.engine_suite import IntegerSpec, TextSpec


class Routine(Controller):
    """A controller whose routine is a function."""

    def __init__(
        self,
        name: str,
        run: Callable[[ControllerContext], Awaitable[None]],
        inputs: Iterable[Input] = (),
        outputs: Iterable[Output] = (),
    ) -> None:
        self.name = name
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self._run = run

    async def run(self, ctx: ControllerContext) -> None:
        await self._run(ctx)


class Turns(Controller):
    """Counts its turns."""

    def __init__(self, name: str, *inputs: Input) -> None:
        self.name = name
        self.inputs = inputs
        self.turns = 0

    async def run(self, ctx: ControllerContext) -> None:
        async for _ in ctx:
            self.turns += 1


class Jobs(QueueController):
    """A queue controller that calls a function for each item, and notes the ids."""

    def __init__(
        self,
        name: str,
        *inputs: Input,
        reconcile: Callable[[QueueContext, Pointer[Any]], Awaitable[None]] | None = None,
        map_input: Callable[[Metadata], Iterable[Pointer[Any]]] = lambda _: (),
        outputs: Iterable[Output] = (),
        concurrency: int = 1,
    ) -> None:
        self.name = name
        self.inputs = inputs
        self.outputs = tuple(outputs)
        self.concurrency = concurrency
        self.done: list[str] = []
        self.mapped: list[str] = []
        self._reconcile, self._map_input = reconcile, map_input

    async def reconcile(self, ctx: QueueContext, item: Pointer[Any]) -> None:
        self.done.append(item.id)
        if self._reconcile is not None:
            await self._reconcile(ctx, item)

    def map_input(self, ctx: QueueContext, changed: Metadata) -> Iterable[Pointer[Any]]:
        self.mapped.append(changed.id)
        return self._map_input(changed)


def access(state: State, *inputs: Input, outputs: Iterable[Output] = (), name: str = "test.Controller") -> Access:
    """What a controller with these declarations is given."""
    return Access(name, state, inputs, outputs, structlog.get_logger())


def integer(kind: Kind[IntegerSpec], id: str, value: int = 0, **metadata: Any) -> Resource[IntegerSpec]:
    """A number that no state has seen yet."""
    return Resource(Metadata(kind.namespace, kind.type, id, **metadata), IntegerSpec(value))


def text(kind: Kind[TextSpec], id: str, value: str = "", **metadata: Any) -> Resource[TextSpec]:
    """A text that no state has seen yet."""
    return Resource(Metadata(kind.namespace, kind.type, id, **metadata), TextSpec(value))


def spell(parameter: Any) -> str:
    """The part of a test's name that stands for declarations; others have none."""
    if isinstance(parameter, Input):
        return f"{parameter.mode.name.lower()}-{parameter.kind.namespace}" + (
            f"-{parameter.id}" if parameter.id else ""
        )
    if isinstance(parameter, Output):
        return parameter.mode.name.lower()
    if isinstance(parameter, Iterable):
        parts = list(filter(None, map(spell, parameter)))
        # A set has another order in each process, and a name must not.
        return "+".join(sorted(parts) if isinstance(parameter, set) else parts)
    return getattr(parameter, "__name__", "") if callable(parameter) and not isinstance(parameter, type) else ""
