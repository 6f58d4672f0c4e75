"""Resource types: their names, the definitions derived from them, and the registry that knows them.

A definition is itself a resource (namespace `meta`): a client that knows no type by name reads there which types
exist, their short names, and the columns of their tables.
"""

import functools
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Generic, TypeVar, get_args, get_origin

import attrs

from nodespan.runtime.errors import RegistrationError
from nodespan.runtime.resource.metadata import EMPTY, Kind, Metadata, Phase, Pointer, Resource
from nodespan.runtime.resource.spec import outside_name, wire

S = TypeVar("S")

META = "meta"
_NAME = re.compile(r"[A-Z][A-Za-z0-9-]+")
_SUFFIX = re.compile(r"[a-z][a-z0-9-]+(\.[a-z][a-z0-9-]+)*")
# The fields at the start of a column's path, before anything that is not a plain name.
_FIELDS = re.compile(r"\{?((?:\.[A-Za-z_]\w*)*)")
_FIELD = re.compile(r"[A-Za-z_]\w*")
_MOST_NAMED = 5
_MOST_TYPES = 1000
builtins_type = type
# Endings of plurals that may have more to them than an s (Statuses, Identities), and of singulars (Status, Alias).
_NOT_ONLY_S = ("ses", "xes", "zes", "ches", "shes", "ies", "oes", "ves", "ss", "us", "is", "as")


@attrs.frozen
class PrintColumn:
    """A column of the table output: its heading and the JSONPath, on the spec, of its cells."""

    name: str
    """The heading."""
    json_path: str
    """The JSONPath, on the spec, of its cells."""


@attrs.frozen(kw_only=True, cache_hash=True)
class ResourceDefinitionSpec:
    """The names and columns of a type, for clients."""

    type: str
    """The full name of the type."""
    display_type: str
    """The name in the singular."""
    default_namespace: str
    """The namespace of its resources unless another is given."""
    aliases: tuple[str, ...] = ()
    """The short names."""
    all_aliases: tuple[str, ...] = ()
    """All names but the full one that resolve to the type."""
    skip_automatic_aliases: bool = attrs.field(default=False, metadata=wire(omit_empty=True))
    """Whether no short names are derived from the full one."""
    print_columns: tuple[PrintColumn, ...] = ()
    """The columns of tables."""
    sensitivity: str = attrs.field(default="", metadata=wire(omit_empty=True))
    """`sensitive` if only root and the user of the agent may read its resources, else ""."""
    writable: bool = attrs.field(default=False, metadata=wire(omit_empty=True))
    """Whether users create, change and delete resources of the type."""


@attrs.frozen(kw_only=True)
class NamespaceSpec:
    """A namespace."""

    description: str = ""
    """What it is for."""


def check_type_name(type: str) -> tuple[str, str]:
    """Split `Name.suffix` at the first dot, or raise ValueError with the first rule that the name breaks."""
    name, dot, suffix = type.partition(".")
    if not dot:
        raise ValueError("missing suffix")
    if not name:
        raise ValueError("name is empty")
    if not suffix:
        raise ValueError("suffix is empty")
    if name == name.lower():
        raise ValueError("name should be in CamelCase")
    if not _NAME.fullmatch(name):
        raise ValueError(f'name doesn\'t match "^{_NAME.pattern}$"')
    if not _SUFFIX.fullmatch(suffix):
        raise ValueError(f'suffix doesn\'t match "^{_SUFFIX.pattern}$"'.replace("\\", "\\\\"))
    return name, suffix


def _singular(name: str) -> str:
    """The singular of a plural that only adds an s, or ValueError: rules for other plurals would guess."""
    if not name.endswith("s"):
        raise ValueError("name should be plural: end it in s, or declare singular=")
    if name.endswith(_NOT_ONLY_S):
        raise ValueError(f"the singular of {name} is not certain: declare singular=")
    return name[:-1]


def define(
    type: str,
    *,
    singular: str | None = None,
    default_namespace: str,
    aliases: Iterable[str] = (),
    print_columns: Iterable[PrintColumn] = (),
    sensitive: bool = False,
    writable: bool = False,
    skip_automatic_aliases: bool = False,
) -> ResourceDefinitionSpec:
    """Derive the display name and the short names of a type. Raises RegistrationError if its name breaks a rule."""
    try:
        name, suffix = check_type_name(type)
        display_type = _singular(name) if singular is None else singular
        if not _NAME.fullmatch(display_type):
            raise ValueError(f'singular {display_type!r} doesn\'t match "^{_NAME.pattern}$"')
    except ValueError as error:
        raise RegistrationError(f"resource type {type!r}: {error}") from error
    known = list(aliases)
    resolvable = []
    if not skip_automatic_aliases:
        known.append(display_type.lower())
        labels = suffix.split(".")
        resolvable = [".".join([name.lower(), *labels[:count]]) for count in range(len(labels))]
        initials = "".join(letter for letter in name if letter.isupper())
        if len(initials) > 1:
            known.append(initials.lower())
            if not initials.endswith("S"):
                known.append(initials.lower() + "s")
    return ResourceDefinitionSpec(
        type=type,
        display_type=display_type,
        default_namespace=default_namespace,
        aliases=tuple(known),
        all_aliases=(*resolvable, *known),
        skip_automatic_aliases=skip_automatic_aliases,
        print_columns=tuple(print_columns),
        sensitivity="sensitive" if sensitive else "",
        writable=writable,
    )


def _can_change(annotation: Any) -> bool:
    return (get_origin(annotation) or annotation) in (list, dict, set, bytearray) or any(
        _can_change(part) for part in get_args(annotation)
    )


def _check_immutable(type: str, spec_class: type[Any]) -> None:
    # attrs gives every frozen class one and the same __setattr__, known by its name.
    if not attrs.has(spec_class) or spec_class.__setattr__.__name__ != "_frozen_setattrs":
        raise RegistrationError(
            f"resource type {type!r}: the spec class {spec_class.__name__} must be immutable, declare it @attrs.frozen"
        )
    for field in attrs.fields(spec_class):
        if _can_change(field.type):
            raise RegistrationError(
                f"resource type {type!r}: {spec_class.__name__}.{field.name} is a {field.type}, which can change "
                "in place: make it a tuple, a frozenset or a Mapping"
            )


def _check_column(type: str, spec_class: type[Any], heading: str, path: str) -> None:
    """Follow the path through nested spec classes, for as long as it names their fields."""
    for name in _FIELD.findall(_FIELDS.match(path)[0]):  # type: ignore[index]  # it matches the empty text too
        fields = {outside_name(field): field for field in attrs.fields(spec_class)}
        if name not in fields:
            import difflib  # only a mistake pays for it

            near = difflib.get_close_matches(name, fields, n=1) or sorted(fields)
            raise RegistrationError(
                f"resource type {type!r}: the column {heading!r} shows {path}, and {spec_class.__name__} has no field "
                f"{name}: did you mean {' or '.join(near[:_MOST_NAMED])}?"
            )
        part = fields[name].type
        classes = [each for each in (part, *get_args(part)) if isinstance(each, builtins_type) and attrs.has(each)]
        if len(classes) != 1 or (get_origin(part) or part) in (tuple, frozenset):
            return
        spec_class = classes[0]


class ResourceType(Generic[S]):
    """A type of resource: its full name, the class of its specs, and its definition for clients.

        ServiceStatus = ResourceType("ServiceStatuses.example.dev", ServiceStatusSpec, singular="ServiceStatus",
                                     namespace="example", aliases=("service",), columns={"State": ".state"})

    Such a declaration is the one source of the type's name, default namespace and short names. `singular` may be left
    out where the plural only adds an s (`Services`). Columns map a heading to a JSONPath on the spec. Resources of a
    `sensitive` type are shown to the owner of the socket only; those of a `writable` one are for users to create,
    change and delete (`nodespan create`, `apply`, `edit`, `delete`, `label`).
    Raises RegistrationError for a name that breaks the rules, a spec class that is not a frozen attrs class, or a
    column that names no field of it.
    """

    __slots__ = ("definition", "kind", "spec_class")

    def __init__(
        self,
        type: str,
        spec_class: type[S],
        *,
        namespace: str,
        singular: str | None = None,
        aliases: Iterable[str] = (),
        columns: Mapping[str, str] | None = None,
        sensitive: bool = False,
        writable: bool = False,
        skip_automatic_aliases: bool = False,
    ) -> None:
        _check_immutable(type, spec_class)
        for heading, path in (columns or {}).items():
            _check_column(type, spec_class, heading, path)
        self.spec_class = spec_class
        self.kind: Kind[S] = Kind(namespace, type)
        self.definition = define(
            type,
            singular=singular,
            default_namespace=namespace,
            aliases=aliases,
            print_columns=[PrintColumn(name, path) for name, path in (columns or {}).items()],
            sensitive=sensitive,
            writable=writable,
            skip_automatic_aliases=skip_automatic_aliases,
        )

    @property
    def name(self) -> str:
        """The full name, `ServiceStatuses.example.dev`."""
        return self.kind.type

    @property
    def is_sensitive(self) -> bool:
        """Whether only the owner of the socket may read resources of this type."""
        return bool(self.definition.sensitivity)

    @property
    def is_writable(self) -> bool:
        """Whether users write resources of this type."""
        return self.definition.writable

    def within(self, namespace: str) -> Kind[S]:
        """The kind of this type in another namespace than its default."""
        return Kind(namespace, self.kind.type)

    def pointer(self, id: str) -> Pointer[S]:
        """The address of one resource in the default namespace."""
        return self.kind.pointer(id)

    def new(
        self,
        id: str,
        spec: S,
        *,
        namespace: str | None = None,
        labels: Mapping[str, str] | None = None,
        annotations: Mapping[str, str] | None = None,
    ) -> Resource[S]:
        """A resource that is not stored yet: running, without owner, version undefined, created now."""
        kind = self.kind
        metadata = Metadata(
            kind.namespace if namespace is None else namespace,
            kind.type,
            id,
            None,
            "",
            Phase.RUNNING,
            now := time.time_ns(),
            now,
            labels or EMPTY,
            annotations or EMPTY,
        )
        return Resource(metadata, spec)

    def __repr__(self) -> str:
        return f"<ResourceType {self.name}>"


# Reads and writes accept either; a type stands for its kind in the default namespace.
KindLike = ResourceType[S] | Kind[S]


def kind_of(kind: KindLike[S]) -> Kind[S]:
    """The kind itself; of a type, the kind in its default namespace."""
    return kind.kind if isinstance(kind, ResourceType) else kind


Namespace = ResourceType("Namespaces.meta.cosi.dev", NamespaceSpec, namespace=META, aliases=("ns",))
ResourceDefinition = ResourceType(
    "ResourceDefinitions.meta.cosi.dev",
    ResourceDefinitionSpec,
    namespace=META,
    aliases=("api-resources",),
    columns={"Aliases": "{.aliases[:]}"},
)


def named_definitions(
    definitions: Iterable[Resource[ResourceDefinitionSpec]], typed: str
) -> list[ResourceDefinitionSpec]:
    """The types that the text may mean: a full or a short name, in any case of letters.

    Chosen names go before initials. If types of several organizations have the same initials, they stand for those of
    the organization that was registered first: a later type makes no name ambiguous.
    """
    wanted = typed.lower()
    named: list[ResourceDefinitionSpec] = []
    abbreviated: list[Resource[ResourceDefinitionSpec]] = []
    for definition in definitions:
        if wanted == definition.id or wanted in chosen_names(definition.spec):
            named.append(definition.spec)
        elif wanted in initials(definition.spec):
            abbreviated.append(definition)
    if named or not abbreviated:
        return named
    first = min(abbreviated, key=lambda definition: definition.metadata.created).spec
    return [each.spec for each in abbreviated if _organization(each.spec) == _organization(first)]


# Each start of an agent compares every type with every other one, and each request names one of them.
@functools.lru_cache(maxsize=_MOST_TYPES)
def initials(definition: ResourceDefinitionSpec) -> frozenset[str]:
    """The short names that were derived from the capital letters of a type's name."""
    if definition.skip_automatic_aliases:
        return frozenset()
    letters = "".join(letter for letter in definition.type.partition(".")[0] if letter.isupper()).lower()
    return frozenset({letters, letters + "s"}) & {alias.lower() for alias in definition.all_aliases}


@functools.lru_cache(maxsize=_MOST_TYPES)
def chosen_names(definition: ResourceDefinitionSpec) -> frozenset[str]:
    """The names of a type that are not its initials."""
    names = {definition.type, definition.display_type, *definition.all_aliases}
    return frozenset(name.lower() for name in names) - initials(definition)


def clash(new: ResourceDefinitionSpec, known: ResourceDefinitionSpec) -> str:
    """A name by which the new type would take one away from the known one, "" if there is none.

    Initials take nothing away, and within an organization chosen names may take precedence over them.
    """
    taken = chosen_names(known)
    if _organization(new) != _organization(known):
        taken |= initials(known)
    return min(chosen_names(new) & taken, default="")


def _organization(definition: ResourceDefinitionSpec) -> list[str]:
    return definition.type.split(".")[-2:]


class Registry:
    """The registered types: full name → type. Names are unique."""

    def __init__(self, types: Iterable[ResourceType[Any]] = ()) -> None:
        self._types: dict[str, ResourceType[Any]] = {}
        self.add(Namespace)
        self.add(ResourceDefinition)
        for type in types:
            self.add(type)

    def add(self, type: ResourceType[Any]) -> None:
        """Register a type. Raises RegistrationError if another declaration has its name; the same one is allowed."""
        known = self._types.setdefault(type.name, type)
        if known is not type:
            raise RegistrationError(f"resource type {type.name!r} is already registered")

    def find(self, name: str) -> ResourceType[Any] | None:
        """The type of this full name, None if there is none."""
        return self._types.get(name)

    def __iter__(self) -> Iterator[ResourceType[Any]]:
        return iter(self._types.values())


def definition_resource(type: ResourceType[Any]) -> Resource[ResourceDefinitionSpec]:
    """The definition of the type as a resource: its id is the full name in lower case."""
    return ResourceDefinition.new(type.name.lower(), type.definition)
