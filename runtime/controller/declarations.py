"""What a controller declares: the inputs it reads and the outputs it writes.

They are data, so the dependency graph is checked and drawn without running anything.
"""

import enum
from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Any

import attrs

from nodespan.runtime.errors import RegistrationError
from nodespan.runtime.resource import Kind, KindLike, Resource, ResourceType, kind_of


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


# What an update may change of the metadata, but for version and times.
_MARKS = attrgetter("phase", "owner", "finalizers", "labels", "annotations")


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
    # Fields of the spec that the controller does not read: a change of nothing else does not wake it.
    ignoring: tuple[str, ...] = ()

    @property
    def sort_key(self) -> tuple[str, str, str, int]:
        """The order of the original: namespace, type, id, mode."""
        return (self.kind.namespace, self.kind.type, self.id or "", self.mode)

    def covers(self, kind: Kind[Any], id: str | None) -> bool:
        """Whether the input makes this resource readable; None stands for the whole kind."""
        return self.kind == kind and self.id in (None, id)

    def is_news(self) -> Callable[[Resource[Any], Resource[Any] | None], bool] | None:
        """What tells whether a change, from the resource before if it was updated, wakes; None if each one does."""
        if self.mode.only_destroy_ready:
            return lambda now, _before: now.metadata.is_destroy_ready
        if not self.ignoring or self.type is None:
            return None
        cls = self.type.spec_class
        what_is_read = attrgetter(*(name for name in _field_names(cls) if name not in self.ignoring))

        def is_news(now: Resource[Any], before: Resource[Any] | None) -> bool:
            # Within a write, where nothing may fail: what a state holds may be of another class.
            if before is None or not now.spec.__class__ is cls is before.spec.__class__:
                return True
            return bool(
                what_is_read(now.spec) != what_is_read(before.spec) or _MARKS(now.metadata) != _MARKS(before.metadata)
            )

        return is_news


@attrs.frozen
class Output:
    """One type that a controller writes, in any namespace."""

    type_name: str
    mode: OutputMode
    type: ResourceType[Any] | None = attrs.field(default=None, eq=False, repr=False)


def _field_names(spec_class: type[Any]) -> list[str]:
    return [field.name for field in attrs.fields(spec_class)]


def _input(kind: KindLike[Any], id: str | None, mode: InputMode, ignoring: Iterable[str] = ()) -> Input:
    type, ignored = _type_of(kind), tuple(ignoring)
    if ignored:
        names = [] if type is None else _field_names(type.spec_class)
        unknown = sorted({*ignored}.difference(names))
        if type is None or unknown or len({*ignored}) == len(names):
            raise RegistrationError(
                f"an input of {kind} cannot ignore {', '.join(unknown or ignored)}: "
                f"name some of its fields, not all ({', '.join(names) or 'known of a ResourceType only'})"
            )
    return Input(kind_of(kind), id, mode, type, ignored)


def weak(kind: KindLike[Any], id: str | None = None, *, ignoring: Iterable[str] = ()) -> Input:
    """Wakes on any change; no finalizers.

    A controller that does not read some fields of the spec names them in `ignoring`, and is not woken by an update of
    nothing else: counters, of which it makes nothing. Raises RegistrationError for what is no field.
    """
    return _input(kind, id, InputMode.WEAK, ignoring)


def strong(kind: KindLike[Any], id: str | None = None, *, ignoring: Iterable[str] = ()) -> Input:
    """Wakes on any change; the controller may hold the resources by finalizers. `ignoring` as for `weak`."""
    return _input(kind, id, InputMode.STRONG, ignoring)


def destroy_ready(kind: KindLike[Any], id: str | None = None) -> Input:
    """Wakes when a resource is torn down and nothing holds it."""
    return _input(kind, id, InputMode.DESTROY_READY)


def primary(kind: KindLike[Any], *, ignoring: Iterable[str] = ()) -> Input:
    """Queue controllers: each changed resource is reconciled; finalizers allowed. `ignoring` as for `weak`."""
    return _input(kind, None, InputMode.PRIMARY, ignoring)


def mapped(kind: KindLike[Any], id: str | None = None, *, ignoring: Iterable[str] = ()) -> Input:
    """Queue controllers: each changed resource is mapped to primary ones; finalizers allowed.

    `ignoring` as for `weak`.
    """
    return _input(kind, id, InputMode.MAPPED, ignoring)


def mapped_destroy_ready(kind: KindLike[Any], id: str | None = None) -> Input:
    """Queue controllers: mapped to primary ones once it is torn down and nothing holds it."""
    return _input(kind, id, InputMode.MAPPED_DESTROY_READY)


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
