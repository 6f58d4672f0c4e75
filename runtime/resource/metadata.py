"""What every resource carries: its address, version, owner, phase, labels, annotations and finalizers.

Everything here is immutable. A change makes a new value; a state decides which value is current. So readers share one
object without a lock or a copy.
"""

import copyreg
import enum
import re
import time
from collections.abc import Iterable, Mapping
from typing import Any, Generic, NamedTuple, Never, Self, TypeVar

import attrs

S = TypeVar("S")
S_co = TypeVar("S_co", covariant=True)
T_co = TypeVar("T_co", covariant=True)
V = TypeVar("V")

# Undefined (None) until a state has stored the resource, then 1, 2, 3 ...
Version = int | None

_UINT64 = 1 << 64
_DECIMAL = re.compile(r"[+-]?[0-9]+")


def format_version(version: Version) -> str:
    """The text form: decimal digits, or `undefined`."""
    return "undefined" if version is None else str(version)


def parse_version(text: str) -> Version:
    """Read `undefined` or a signed 64-bit decimal, a negative one taken as unsigned. Raises ValueError for the rest."""
    if text == "undefined":
        return None
    if not _DECIMAL.fullmatch(text) or not -(1 << 63) <= int(text) < 1 << 63:
        raise ValueError(f"{text!r} is not a version, expected decimal digits or `undefined`")
    return int(text) % _UINT64


def next_version(version: Version) -> int:
    """The version after this one; the first is 1."""
    return 1 if version is None else version + 1


class Phase(enum.StrEnum):
    """The life cycle of a resource: running, then tearing down while it has finalizers. No state enforces the order."""

    RUNNING = "running"
    TEARING_DOWN = "tearingDown"


class FrozenPairs(dict[str, V]):
    """Immutable pairs of names and values, in the order in which they are given: for mappings in specs."""

    __slots__ = ()

    def __new__(cls, pairs: Mapping[str, V] | Iterable[tuple[str, V]] = ()) -> Self:
        new = super().__new__(cls)
        dict.update(new, pairs)
        return new

    def __init__(self, pairs: Mapping[str, V] | Iterable[tuple[str, V]] = ()) -> None:
        # __new__ has filled it; dict's own __init__, called again, would change it.
        pass

    def _refuse(self, *_: Any, **__: Any) -> Never:
        raise TypeError("immutable pairs cannot be changed in place: make a copy")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(tuple(self.items()))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (dict(self),)


class FrozenMapping(FrozenPairs[str]):
    """Immutable string pairs, sorted by key: the type of labels and annotations."""

    __slots__ = ()

    def __new__(cls, pairs: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> Self:
        return super().__new__(cls, sorted(dict(pairs).items()))

    def with_(self, pairs: Mapping[str, str]) -> "FrozenMapping":
        """A copy in which these pairs are set."""
        return FrozenMapping({**self, **pairs})

    def without(self, *keys: str) -> "FrozenMapping":
        """A copy that lacks these keys."""
        return FrozenMapping({key: value for key, value in self.items() if key not in keys})

    def _refuse(self, *_: Any, **__: Any) -> Never:
        raise TypeError("labels and annotations cannot be changed in place: make a copy with with_() or without()")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse


EMPTY = FrozenMapping()


def _frozen(pairs: Mapping[str, str]) -> FrozenMapping:
    if type(pairs) is FrozenMapping:
        return pairs
    return FrozenMapping(pairs) if pairs else EMPTY


class Kind(NamedTuple, Generic[S_co]):
    """A collection's address: namespace and type. The type parameter is the spec class of its resources."""

    namespace: str
    type: str

    def pointer(self, id: str) -> "Pointer[S_co]":
        """The address of one resource of the kind."""
        return _new_tuple(Pointer, (self.namespace, self.type, id))

    def __str__(self) -> str:
        return f"{self.type}({self.namespace})"


class Pointer(NamedTuple, Generic[S_co]):
    """A resource's address: namespace, type and id."""

    namespace: str
    type: str
    id: str

    @property
    def kind(self) -> Kind[S_co]:
        """The address of the collection."""
        return Kind(self.namespace, self.type)

    def __str__(self) -> str:
        return f"{self.type}({self.namespace}/{self.id})"


# The `__new__` of a NamedTuple is a Python function that calls this one.
_new_tuple = tuple.__new__


class _OpenMetadata:
    """A Metadata while its fields are set.

    A frozen class of attrs sets each field through `object.__setattr__`, and every write makes a Metadata. Two classes
    with the same slots may replace each other: so the fields are set on this one, by plain assignments (half the time),
    and it becomes a Metadata at the end.
    """

    __slots__ = (
        "annotations",
        "created",
        "finalizers",
        "id",
        "labels",
        "namespace",
        "owner",
        "phase",
        "type",
        "updated",
        "version",
    )
    namespace: str
    type: str
    id: str
    version: Version
    owner: str
    phase: Phase
    created: int
    updated: int
    labels: FrozenMapping
    annotations: FrozenMapping
    finalizers: tuple[str, ...]


@attrs.frozen(weakref_slot=False)
class Metadata:
    """A resource without its spec. Times are wall-clock nanoseconds since the epoch and are ignored by equality.

    Created now, and updated when it was created, unless the times are given.
    """

    namespace: str
    type: str
    id: str
    version: Version = None
    owner: str = ""
    phase: Phase = Phase.RUNNING
    created: int = attrs.field(factory=time.time_ns, eq=False)
    updated: int = attrs.field(default=attrs.Factory(lambda self: self.created, takes_self=True), eq=False)
    labels: FrozenMapping = attrs.field(default=EMPTY, converter=_frozen)
    annotations: FrozenMapping = attrs.field(default=EMPTY, converter=_frozen)
    finalizers: tuple[str, ...] = attrs.field(default=(), eq=frozenset)

    @property
    def kind(self) -> Kind[Any]:
        """The address of the collection."""
        return _new_tuple(Kind, (self.namespace, self.type))

    @property
    def pointer(self) -> Pointer[Any]:
        """The address of the resource."""
        return _new_tuple(Pointer, (self.namespace, self.type, self.id))

    @property
    def is_tearing_down(self) -> bool:
        """Whether the resource is tearing down."""
        return self.phase is Phase.TEARING_DOWN

    @property
    def is_destroy_ready(self) -> bool:
        """Whether the resource is tearing down and has no finalizers."""
        return self.phase is Phase.TEARING_DOWN and not self.finalizers

    def owned_by(self, owner: str) -> "Metadata":
        """A copy with this owner. Raises ValueError if another owner is set: the owner never changes."""
        if self.owner and self.owner != owner:
            raise ValueError(f"owner of {self} is already set to {self.owner!r}, it cannot become {owner!r}")
        return attrs.evolve(self, owner=owner)

    def _held_by(self, finalizers: tuple[str, ...]) -> "Metadata":
        # By position, for speed: finalizers are most of the writes of a busy node.
        return Metadata(
            self.namespace,
            self.type,
            self.id,
            self.version,
            self.owner,
            self.phase,
            self.created,
            self.updated,
            self.labels,
            self.annotations,
            finalizers,
        )

    def with_finalizers(self, *finalizers: str) -> "Metadata":
        """A copy with these finalizers added, each once, in order; itself if it has them already."""
        new = tuple(dict.fromkeys((*self.finalizers, *finalizers)))
        return self if new == self.finalizers else self._held_by(new)

    def without_finalizers(self, *finalizers: str) -> "Metadata":
        """A copy without these finalizers; itself if it has none of them."""
        new = tuple(name for name in self.finalizers if name not in finalizers)
        return self if new == self.finalizers else self._held_by(new)

    def __str__(self) -> str:
        return f"{self.type}({self.namespace}/{self.id}@{format_version(self.version)})"


_open_metadata = _OpenMetadata.__new__


def _metadata(
    cls: type,
    namespace: str,
    type: str,
    id: str,
    version: Version = None,
    owner: str = "",
    phase: Phase = Phase.RUNNING,
    created: int | None = None,
    updated: int | None = None,
    labels: Mapping[str, str] = EMPTY,
    annotations: Mapping[str, str] = EMPTY,
    finalizers: tuple[str, ...] = (),
) -> _OpenMetadata:
    """What the `__init__` that attrs made does."""
    new = _open_metadata(_OpenMetadata)
    new.namespace = namespace
    new.type = type
    new.id = id
    new.version = version
    new.owner = owner
    new.phase = phase
    if created is None:
        created = time.time_ns()
    new.created = created
    new.updated = created if updated is None else updated
    new.labels = labels if labels.__class__ is FrozenMapping else _frozen(labels)
    new.annotations = annotations if annotations.__class__ is FrozenMapping else _frozen(annotations)
    new.finalizers = finalizers
    new.__class__ = cls
    return new


def _reduced(metadata: Metadata) -> tuple[type[Metadata], tuple[Any, ...]]:
    return Metadata, tuple(getattr(metadata, field.name) for field in attrs.fields(Metadata))


# In place of attrs's own, which type checkers go on to see. Errors in a call name the class.
_metadata.__qualname__ = Metadata.__qualname__
setattr(Metadata, "__new__", _metadata)  # noqa: B010
delattr(Metadata, "__init__")
copyreg.pickle(Metadata, _reduced)


def stored_metadata(given: Metadata, version: int, owner: str, created: int, updated: int) -> Metadata:
    """For states: what a write makes of the given metadata, with no more calls than it needs."""
    new = _open_metadata(_OpenMetadata)
    new.namespace = given.namespace
    new.type = given.type
    new.id = given.id
    new.version = version
    new.owner = owner
    new.phase = given.phase
    new.created = created
    new.updated = updated
    new.labels = given.labels
    new.annotations = given.annotations
    new.finalizers = given.finalizers
    new.__class__ = Metadata  # type: ignore[assignment]
    return new  # type: ignore[return-value]


class _OpenResource(Generic[T_co]):
    """As `_OpenMetadata`."""

    __slots__ = ("metadata", "spec")
    metadata: Metadata
    spec: T_co


_open_resource = _OpenResource.__new__


@attrs.frozen(repr=False, weakref_slot=False)
class Resource(Generic[T_co]):
    """One typed fact about the node: metadata and an immutable spec.

    Two resources are equal when metadata (without times) and spec are.
    """

    metadata: Metadata
    spec: T_co

    @property
    def id(self) -> str:
        """The id within its kind."""
        return self.metadata.id

    @property
    def kind(self) -> Kind[T_co]:
        """The address of the collection."""
        return self.metadata.kind

    @property
    def pointer(self) -> Pointer[T_co]:
        """The address of the resource."""
        return self.metadata.pointer

    def evolve(self, **changes: Any) -> "Resource[T_co]":
        """A copy whose metadata differs in the named fields."""
        return Resource(attrs.evolve(self.metadata, **changes), self.spec)

    def with_spec(self, spec: T_co) -> "Resource[T_co]":  # type: ignore[misc]  # a new value, nothing is written to
        """A copy with this spec; itself if the spec is equal."""
        return self if spec == self.spec else Resource(self.metadata, spec)

    def with_labels(self, labels: Mapping[str, str]) -> "Resource[T_co]":
        """A copy in which these labels are set; itself if they already are."""
        new = self.metadata.labels.with_(labels)
        return self if new == self.metadata.labels else self.evolve(labels=new)

    def __str__(self) -> str:
        return str(self.pointer)

    def __repr__(self) -> str:
        # Specs may hold secrets, and reprs end up in logs and tracebacks.
        return f"<Resource {self.metadata}>"


def stored_resource(metadata: Metadata, spec: S) -> Resource[S]:
    """For states: `Resource(metadata, spec)`, in half the time."""
    new: _OpenResource[S] = _open_resource(_OpenResource)
    new.metadata = metadata
    new.spec = spec
    new.__class__ = Resource  # type: ignore[assignment]
    return new  # type: ignore[return-value]


class _NoSpec:
    """The spec of a tombstone; reading any attribute is a programming error."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<no spec>"

    def __getattr__(self, name: str) -> Never:
        raise AttributeError(f"a tombstone has no spec, {name!r} cannot be read from it")


NO_SPEC = _NoSpec()


def tombstone(kind: Kind[Any], id: str = "") -> Resource[Any]:
    """A stand-in for a missing resource in events: the address, an undefined version, no spec."""
    return Resource(Metadata(kind.namespace, kind.type, id), NO_SPEC)


def is_tombstone(resource: Resource[Any]) -> bool:
    """Whether the resource is a tombstone."""
    return resource.spec is NO_SPEC
