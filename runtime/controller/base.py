"""What a controller is: a name, the inputs it reads, the outputs it writes, and a routine between the two.

Inputs and outputs are data, so the dependency graph can be checked and drawn without running anything. There are two
shapes: a `Controller` runs one routine that looks at all its inputs whenever something changed; a `QueueController`
is called for each item that changed, which is what to use where there may be many.
"""

import enum
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from nodespan.runtime.resource import Kind, KindLike, Metadata, Pointer, ResourceType, kind_of

if TYPE_CHECKING:
    from nodespan.runtime.controller.context import ControllerContext, QueueContext


class InputMode(enum.IntEnum):
    """When an input wakes its reader, and whether the reader may put finalizers on it."""

    WEAK = 0
    STRONG = 1
    DESTROY_READY = 2
    PRIMARY = 3
    MAPPED = 4
    MAPPED_DESTROY_READY = 5

    @property
    def is_for_queues(self) -> bool:
        """Whether the mode belongs to queue controllers."""
        return self >= InputMode.PRIMARY

    @property
    def only_destroy_ready(self) -> bool:
        """Whether the input wakes only when a resource is torn down and nothing holds it."""
        return self in (InputMode.DESTROY_READY, InputMode.MAPPED_DESTROY_READY)

    @property
    def grants_finalizers(self) -> bool:
        """Whether the reader may hold the resources by finalizers."""
        return self in (InputMode.STRONG, InputMode.PRIMARY, InputMode.MAPPED)


class OutputMode(enum.IntEnum):
    """Whether a type has one writer, or many who each write what they own."""

    EXCLUSIVE = 0
    SHARED = 1


def _type_of(kind: KindLike[Any]) -> ResourceType[Any] | None:
    return kind if isinstance(kind, ResourceType) else None


@attrs.frozen
class Input:
    """One kind that a controller reads, or one resource of it if `id` is given."""

    kind: Kind[Any]
    id: str | None
    mode: InputMode
    # Where the declaration named a type and not only an address, so that the type can be made known to clients.
    type: ResourceType[Any] | None = attrs.field(default=None, eq=False, repr=False)

    @property
    def sort_key(self) -> tuple[str, str, str, int]:
        """The order of the original: namespace, type, id, mode."""
        return (self.kind.namespace, self.kind.type, self.id or "", self.mode)

    def covers(self, kind: Kind[Any], id: str | None) -> bool:
        """Whether the input makes this resource readable; None stands for the whole kind."""
        return self.kind == kind and self.id in (None, id)


@attrs.frozen
class Output:
    """One type that a controller writes, in any namespace."""

    type_name: str
    mode: OutputMode
    type: ResourceType[Any] | None = attrs.field(default=None, eq=False, repr=False)


def weak(kind: KindLike[Any], id: str | None = None) -> Input:
    """Wakes on any change; no finalizers."""
    return Input(kind_of(kind), id, InputMode.WEAK, _type_of(kind))


def strong(kind: KindLike[Any], id: str | None = None) -> Input:
    """Wakes on any change; the controller may hold the resources by finalizers."""
    return Input(kind_of(kind), id, InputMode.STRONG, _type_of(kind))


def destroy_ready(kind: KindLike[Any], id: str | None = None) -> Input:
    """Wakes when a resource is torn down and nothing holds it."""
    return Input(kind_of(kind), id, InputMode.DESTROY_READY, _type_of(kind))


def primary(kind: KindLike[Any]) -> Input:
    """Queue controllers: each changed resource is reconciled; finalizers allowed."""
    return Input(kind_of(kind), None, InputMode.PRIMARY, _type_of(kind))


def mapped(kind: KindLike[Any], id: str | None = None) -> Input:
    """Queue controllers: each changed resource is mapped to primary ones; finalizers allowed."""
    return Input(kind_of(kind), id, InputMode.MAPPED, _type_of(kind))


def mapped_destroy_ready(kind: KindLike[Any], id: str | None = None) -> Input:
    """Queue controllers: mapped to primary ones once it is torn down and nothing holds it."""
    return Input(kind_of(kind), id, InputMode.MAPPED_DESTROY_READY, _type_of(kind))


def _output(kind: KindLike[Any] | str, mode: OutputMode) -> Output:
    if isinstance(kind, str):
        return Output(kind, mode)
    return Output(kind_of(kind).type, mode, _type_of(kind))


def exclusive(kind: KindLike[Any] | str) -> Output:
    """Only this controller writes the type."""
    return _output(kind, OutputMode.EXCLUSIVE)


def shared(kind: KindLike[Any] | str) -> Output:
    """Other controllers may write the type too; each touches only what it owns."""
    return _output(kind, OutputMode.SHARED)


class _Declared:
    # Given on the class, or on the instance where they depend on arguments.
    name: str
    inputs: Iterable[Input] = ()
    outputs: Iterable[Output] = ()
    # Whether it changes nothing but its outputs, so that it may be run on a copy of the state too, to find out what
    # would come of a change.
    only_derives: ClassVar[bool] = False

    def __repr__(self) -> str:
        return f"<{self.name}>"


class Controller(_Declared, ABC):
    """One routine that is woken when any of its inputs changed.

    class GreetingController(Controller):
        name = "example.GreetingController"
        inputs = (weak(HostnameStatus),)
        outputs = (exclusive(Greeting),)

        async def run(self, ctx: ControllerContext) -> None:
            async for _ in ctx:
                async with ctx.tracked_outputs(Greeting):
                    for hostname in ctx.list(HostnameStatus):
                        await ctx.put(Greeting, hostname.id, GreetingSpec(text=f"hello {hostname.spec.hostname}"))
    """

    @abstractmethod
    async def run(self, ctx: "ControllerContext") -> None:
        """Loop over `ctx` until cancelled; each turn reads the inputs anew and writes the outputs.

        Raising restarts it, after a growing delay; returning ends it for good.
        """


class QueueController(_Declared, ABC):
    """Called for each changed item of its primary inputs; what other inputs change is mapped to such items.

    An item is never reconciled twice at once, and changes that arrive meanwhile are one more call afterwards. Up to
    `concurrency` different items are reconciled at a time.
    """

    concurrency: int = 1

    @abstractmethod
    async def reconcile(self, ctx: "QueueContext", item: Pointer[Any]) -> None:
        """Make the outputs of one primary resource right; it may be gone by now.

        Raise `Requeue` to be called again after an interval; any other error calls again after a growing delay.
        """

    def map_input(self, ctx: "QueueContext", changed: Metadata) -> Iterable[Pointer[Any]]:
        """The primary resources that a change of a mapped input concerns; they need not exist."""
        raise NotImplementedError(f"{self.name} has mapped inputs but does not map {changed.type}")

    async def run(self, ctx: "QueueContext") -> None:
        """Runs beside the calls; returning ends it, raising restarts it after a growing delay."""

    async def shutdown(self, ctx: "QueueContext") -> None:
        """Called once, after everything else of the controller has stopped; has a few seconds, shielded."""


class Requeue(Exception):  # noqa: N818  # a request, and only with a cause an error
    """Raised by a reconciliation that wants to be called again `after` so many seconds.

    Raised `from` an error, it counts as a crash with this delay (0: the usual growing one); without one it is no crash.
    """

    def __init__(self, after: float) -> None:
        super().__init__(f"again in {after} s")
        self.after = after


class SkipReconcile(Exception):  # noqa: N818  # not an error: there is nothing to do until the next change
    """Raised by a reconciliation that can do nothing until something changes."""
