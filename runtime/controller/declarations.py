"""What a controller declares: the inputs it reads and the outputs it writes.

They are data, so the dependency graph is checked and drawn without running anything.
"""

import enum
from typing import Any

import attrs

from nodespan.runtime.resource import Kind, KindLike, ResourceType, kind_of


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
    """Whether a type has one writer, or several that each write the resources they own."""

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
    # Set if the declaration names a type and not only an address: then the type is registered for clients.
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
