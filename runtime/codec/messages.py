"""Specs as protobuf messages, for the `proto_spec` of the COSI State service.

Theory of operation. A `MessageType` ties a spec class to a generated message. Most of a mapping follows from the two
declarations: a field goes to the message's field of the same name, as the annotation and the descriptor say:

    annotation                        field of the message
    str, bool, int, float, bytes      the same
    a class of numbered texts         the number, as any integer
    a set of bits (TextFlag)          the number
    a spec class                      its message, by a mapping of its own
    timedelta, datetime               google.protobuf.Duration, Timestamp
    X | None                          the same, not set for None: a message or an `optional` field
    tuple[X, ...]                     repeated
    Mapping[str, X]                   a map, or repeated messages of two fields, a name and a value

What does not follow is said by `fields`: another name, another form (`Form`). A field that has no counterpart, on
either side, is an error when the mapping is made: nothing is lost unnoticed.

Two kinds of specs have no such mapping. A type that the originals do not have is sent as google.protobuf.Struct, which
is its plain form; any language reads that. And a spec whose class this process does not know stays as it came
(`RawSpec`), and is passed on unchanged.
"""

import datetime
import enum
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, Protocol, TypeVar

import attrs
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.struct_pb2 import ListValue, Struct, Value
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from nodespan.runtime.codec.plain import spec_from_plain, spec_to_plain
from nodespan.runtime.codec.wire import meta_pb2
from nodespan.runtime.resource import FrozenPairs, NamespaceSpec, PrintColumn, ResourceDefinitionSpec, TextFlag
from nodespan.runtime.resource.metadata import NO_SPEC

S = TypeVar("S")
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_SECOND = datetime.timedelta(seconds=1)
_MICROSECOND = datetime.timedelta(microseconds=1)
# A number in a Struct is a double: beyond this it is text.
_EXACT = 1 << 53


class MessageError(ValueError):
    """A spec that its message cannot express, or bytes that are not the message of a spec."""


class _NumberedText(Protocol):
    """A text that stands for a number, and can be found by it."""

    number: int

    @classmethod
    def of(cls, number: int) -> Any: ...


@attrs.frozen
class RawSpec:
    """A spec of a type that this process does not know: both forms, as they came."""

    proto: bytes = b""
    yaml: str = ""

    def to_plain(self) -> Any:
        """The content of the YAML form, an empty mapping if there is none."""
        try:
            return YAML(typ="safe").load(self.yaml) or {}
        except YAMLError as error:
            raise MessageError(f"the YAML form of a spec cannot be read: {error}") from error


class Form(Protocol):
    """How one value stands in a field of a message: as a value of its own, or as a message."""

    def to_wire(self, value: Any) -> Any:
        """The field's value."""
        ...

    def from_wire(self, value: Any) -> Any:
        """The spec's value."""
        ...


class Same:
    """The value itself."""

    def to_wire(self, value: Any) -> Any:
        return value

    def from_wire(self, value: Any) -> Any:
        return value


@attrs.frozen
class Numbered:
    """A text as the number that it stands for."""

    cls: type[_NumberedText]

    def to_wire(self, value: Any) -> Any:
        return value.number

    def from_wire(self, value: Any) -> Any:
        return self.cls.of(value)


@attrs.frozen
class Flags:
    """A set of bits as a number."""

    cls: type[TextFlag]

    def to_wire(self, value: Any) -> Any:
        return int(value)

    def from_wire(self, value: Any) -> Any:
        return self.cls(value)


class Choice:
    """A text as its number in a table."""

    def __init__(self, numbers: Mapping[Any, int]) -> None:
        self._numbers = dict(numbers)
        self._texts = {number: text for text, number in self._numbers.items()}

    def to_wire(self, value: Any) -> Any:
        """The number of a text. Raises MessageError if it has none."""
        try:
            return self._numbers[value]
        except KeyError:
            raise MessageError(f"{value!r} has no number, {', '.join(map(str, self._numbers))} have") from None

    def from_wire(self, value: Any) -> Any:
        """The text of a number. Raises MessageError if there is none."""
        try:
            return self._texts[value]
        except KeyError:
            raise MessageError(f"{value} stands for none of {', '.join(map(str, self._numbers))}") from None


class _Duration:
    def to_wire(self, value: datetime.timedelta, into: Any) -> None:
        # Whole seconds towards zero: both parts have the same sign.
        micros = value // _MICROSECOND
        seconds, rest = divmod(abs(micros), 1_000_000)
        sign = -1 if micros < 0 else 1
        into.seconds, into.nanos = sign * seconds, sign * rest * 1000

    def from_wire(self, value: Any) -> datetime.timedelta:
        return datetime.timedelta(seconds=value.seconds, microseconds=value.nanos // 1000)


class _Timestamp:
    def to_wire(self, value: datetime.datetime, into: Any) -> None:
        elapsed = value - _EPOCH
        into.seconds, into.nanos = elapsed // _SECOND, (elapsed % _SECOND) // _MICROSECOND * 1000

    def from_wire(self, value: Any) -> datetime.datetime:
        return _EPOCH + datetime.timedelta(seconds=value.seconds, microseconds=value.nanos // 1000)


class Part(Protocol):
    """How one value stands in a message of its own."""

    def to_wire(self, value: Any, into: Any) -> None:
        """Fill the message."""
        ...

    def from_wire(self, value: Any) -> Any:
        """The value of a message."""
        ...


_TIMES: Mapping[str, Part] = {"google.protobuf.Duration": _Duration(), "google.protobuf.Timestamp": _Timestamp()}


class _Field:
    """One field of a spec, and where it stands in the message."""

    def write(self, spec: Any, message: Any) -> None:
        """Carry it over into the message."""
        raise NotImplementedError

    def read(self, message: Any) -> Any:
        """The spec's value."""
        raise NotImplementedError


@attrs.frozen
class _Scalar(_Field):
    attribute: str
    name: str
    form: Form

    def write(self, spec: Any, message: Any) -> None:
        setattr(message, self.name, self.form.to_wire(getattr(spec, self.attribute)))

    def read(self, message: Any) -> Any:
        return self.form.from_wire(getattr(message, self.name))


@attrs.frozen
class _OptionalScalar(_Scalar):
    def write(self, spec: Any, message: Any) -> None:
        value = getattr(spec, self.attribute)
        if value is not None:
            setattr(message, self.name, self.form.to_wire(value))

    def read(self, message: Any) -> Any:
        return self.form.from_wire(getattr(message, self.name)) if message.HasField(self.name) else None


@attrs.frozen
class _Scalars(_Scalar):
    # The field that tells an empty list from none, "" where there is always a list.
    given: str = ""

    def write(self, spec: Any, message: Any) -> None:
        value = getattr(spec, self.attribute)
        if self.given:
            setattr(message, self.given, value is not None)
        getattr(message, self.name).extend(map(self.form.to_wire, value or ()))

    def read(self, message: Any) -> Any:
        value = tuple(map(self.form.from_wire, getattr(message, self.name)))
        return None if self.given and not value and not getattr(message, self.given) else value


@attrs.frozen
class _Message(_Field):
    attribute: str
    name: str
    part: Part
    default: Callable[[], Any]

    def write(self, spec: Any, message: Any) -> None:
        value = getattr(spec, self.attribute)
        if value is not None and value != "":
            into = getattr(message, self.name)
            self.part.to_wire(value, into)
            into.SetInParent()

    def read(self, message: Any) -> Any:
        return self.part.from_wire(getattr(message, self.name)) if message.HasField(self.name) else self.default()


@attrs.frozen
class _Messages(_Field):
    attribute: str
    name: str
    part: Part

    def write(self, spec: Any, message: Any) -> None:
        into = getattr(message, self.name)
        for value in getattr(spec, self.attribute):
            self.part.to_wire(value, into.add())

    def read(self, message: Any) -> Any:
        return tuple(map(self.part.from_wire, getattr(message, self.name)))


@attrs.frozen
class _Pairs(_Field):
    """Names and values in a map of the message."""

    attribute: str
    name: str

    def write(self, spec: Any, message: Any) -> None:
        getattr(message, self.name).update(getattr(spec, self.attribute))

    def read(self, message: Any) -> Any:
        # The order of a map of a message is nobody's.
        return FrozenPairs(sorted(getattr(message, self.name).items()))


@attrs.frozen
class _PairMessages(_Field):
    """Names and values as repeated messages of two fields, which keep their order."""

    attribute: str
    name: str
    key: str
    value: str

    def write(self, spec: Any, message: Any) -> None:
        into = getattr(message, self.name)
        for name, value in getattr(spec, self.attribute).items():
            into.add(**{self.key: name, self.value: value})

    def read(self, message: Any) -> Any:
        pairs = getattr(message, self.name)
        return FrozenPairs((getattr(pair, self.key), getattr(pair, self.value)) for pair in pairs)


@attrs.frozen(kw_only=True)
class At:
    """What does not follow about a field: its name in the message, its form, and the field that tells () from None.

    `name` may be a path into a message in the message: `bond_slave.master_name`.
    """

    name: str = ""
    form: Form | None = None
    given: str = ""


@attrs.frozen
class _Within(_Field):
    """A field that stands in a message of the message, together with others of the spec."""

    outer: str
    inner: _Field

    def write(self, spec: Any, message: Any) -> None:
        part = type(getattr(message, self.outer))()
        self.inner.write(spec, part)
        if part.ByteSize():
            getattr(message, self.outer).MergeFrom(part)

    def read(self, message: Any) -> Any:
        return self.inner.read(getattr(message, self.outer))


_AS_IT_IS = At()


class MessageType(Generic[S]):
    """The mapping of a spec class to a message.

        MessageType(LinkAliasSpecSpec, network_pb2.LinkAliasSpecSpec)
        MessageType(HostnameSpecSpec, network_pb2.HostnameSpecSpec, fields={"layer": At(name="config_layer")})

    `parts` are how values stand in messages that no spec class has, by the message's full name; `nested` are the
    mappings of the spec classes within this one; `without` names fields of the
    message that have no counterpart here. Raises TypeError for a field, on either side, that is not mapped.
    """

    def __init__(
        self,
        spec_class: type[S],
        message: type[Message],
        *,
        fields: Mapping[str, At | str] = types.MappingProxyType({}),
        parts: Mapping[str, Part] = types.MappingProxyType({}),
        nested: Iterable["MessageType[Any]"] = (),
        without: Iterable[str] = (),
    ) -> None:
        self.spec_class = spec_class
        self.message = message
        self._parts = {**_TIMES, **parts}
        self.nested = {each.spec_class: each for each in nested}
        hints = typing.get_type_hints(spec_class)
        self.fields: list[tuple[str, _Field]] = []
        used = set(without)
        for field in attrs.fields(spec_class):  # type: ignore[arg-type]  # a spec class is an attrs class
            at = fields.get(field.name, _AS_IT_IS)
            at = At(name=at) if isinstance(at, str) else at
            used |= {(at.name or field.name).partition(".")[0], at.given}
            self.fields.append((field.name, self._field(field, hints[field.name], at, message.DESCRIPTOR)))
        unused = {field.name for field in message.DESCRIPTOR.fields} - used
        if unused:
            raise TypeError(f"{spec_class.__name__} has nothing for {', '.join(sorted(unused))} of {self.name}")

    @property
    def name(self) -> str:
        """The full name of the message."""
        return str(self.message.DESCRIPTOR.full_name)

    def encode(self, spec: S) -> bytes:
        """The bytes of the message. Raises MessageError for a spec that it cannot express."""
        message = self.message()
        self.to_wire(spec, message)
        return message.SerializeToString(deterministic=True)

    def decode(self, data: bytes) -> S:
        """The spec that the bytes stand for. Raises MessageError."""
        try:
            message = self.message.FromString(data)
        except DecodeError as error:
            raise MessageError(f"the spec is not a {self.name}") from error
        return self.from_wire(message)

    def to_wire(self, spec: Any, into: Any) -> None:
        """Fill a message. Raises MessageError."""
        for name, field in self.fields:
            try:
                field.write(spec, into)
            except (ValueError, TypeError, OverflowError) as error:
                raise MessageError(f"{type(spec).__name__}.{name} does not fit into {self.name}: {error}") from error

    def from_wire(self, message: Any) -> S:
        """The spec of a message. Raises MessageError."""
        values = {}
        for name, field in self.fields:
            try:
                values[name.lstrip("_")] = field.read(message)
            except (ValueError, TypeError, OverflowError) as error:
                raise MessageError(f"{name} of a {self.name} cannot be read: {error}") from error
        return self.spec_class(**values)

    def _field(self, field: "attrs.Attribute[Any]", hint: Any, at: At, descriptor: Any) -> _Field:
        outer, dot, name = (at.name or field.name).rpartition(".")
        if dot:
            part = descriptor.fields_by_name[outer].message_type
            return _Within(outer, self._field(field, hint, attrs.evolve(at, name=name), part))
        found = descriptor.fields_by_name.get(name)
        if found is None:
            raise TypeError(f"{self.spec_class.__name__}.{field.name} has no counterpart in {self.name}")
        hint, is_optional = _without_none(hint)
        if typing.get_origin(hint) is tuple:
            element = typing.get_args(hint)[0]
            if found.message_type is not None:
                return _Messages(field.name, name, self._part(element, found))
            return _Scalars(field.name, name, at.form or _form_of(element), at.given)
        if typing.get_origin(hint) is Mapping and found.message_type is not None:
            key, value = found.message_type.fields
            if found.message_type.GetOptions().map_entry:
                return _Pairs(field.name, name)
            return _PairMessages(field.name, name, key.name, value.name)
        if found.message_type is not None:
            absent = None if is_optional else _default_of(field, hint)
            return _Message(field.name, name, self._part(hint, found), absent or (lambda: None))
        form = at.form or _form_of(hint)
        return _OptionalScalar(field.name, name, form) if is_optional else _Scalar(field.name, name, form)

    def _part(self, hint: Any, found: FieldDescriptor) -> Part:
        assert found.message_type is not None
        part: Part | None = self.nested.get(hint) or self._parts.get(found.message_type.full_name)
        if part is None:
            raise TypeError(f"{self.name}.{found.name}: there is no mapping to {found.message_type.full_name}")
        return part


def _without_none(hint: Any) -> tuple[Any, bool]:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        rest = [each for each in typing.get_args(hint) if each is not type(None)]
        if len(rest) == 1:
            return rest[0], True
    return hint, False


def _default_of(field: "attrs.Attribute[Any]", hint: Any) -> Callable[[], Any]:
    """What the field is when its message is absent."""
    if hint is str:
        return str
    value: Any = field.default
    if isinstance(value, attrs.Factory):  # type: ignore[arg-type]  # a class, at run time
        factory: Callable[[], Any] = value.factory
        return factory
    if value is attrs.NOTHING:
        raise TypeError(f"{field.name} needs a default, for a message without it")
    return lambda: value


def _form_of(hint: Any) -> Form:
    if isinstance(hint, type):
        if issubclass(hint, TextFlag):
            return Flags(hint)
        if issubclass(hint, enum.Enum) and hasattr(hint, "of"):
            numbered: Any = hint
            return Numbered(numbered)
        if hint in (str, bool, int, float, bytes):
            return Same()
    raise TypeError(f"{hint}: say how it stands in a message")


# The specs of the runtime's own types.
RUNTIME_MESSAGES: tuple[MessageType[Any], ...] = (
    MessageType(NamespaceSpec, meta_pb2.NamespaceSpec),
    MessageType(
        ResourceDefinitionSpec,
        meta_pb2.ResourceDefinitionSpec,
        fields={"type": "resource_type", "sensitivity": At(form=Choice({"": 0, "sensitive": 1}))},
        nested=[MessageType(PrintColumn, meta_pb2.ResourceDefinitionSpec.PrintColumn)],
    ),
)


class SpecMessages:
    """Encodes and decodes specs as `proto_spec`: by their mappings, or as google.protobuf.Struct."""

    def __init__(self, messages: Iterable[MessageType[Any]] = ()) -> None:
        self._messages = {each.spec_class: each for each in (*RUNTIME_MESSAGES, *messages)}

    def find(self, spec_class: type[Any]) -> MessageType[Any] | None:
        """The mapping of a spec class, None if there is none."""
        return self._messages.get(spec_class)

    def encode(self, spec: Any) -> bytes:
        """The bytes for a spec, none for a resource without one. Raises MessageError."""
        if spec is NO_SPEC:
            return b""
        if isinstance(spec, RawSpec):
            return spec.proto
        message = self._messages.get(type(spec))
        if message is not None:
            return message.encode(spec)
        plain = spec_to_plain(spec)
        if not isinstance(plain, Mapping):
            return b""
        struct = Struct()
        try:
            _fill(struct, plain)
        except UnicodeEncodeError as error:
            raise MessageError(f"a text of {type(spec).__name__} is not Unicode: {error}") from error
        return struct.SerializeToString(deterministic=True)

    def decode(self, spec_class: type[Any] | None, proto: bytes, yaml: str) -> Any:
        """The spec; a RawSpec of both forms if the class is not known. Raises MessageError."""
        if spec_class is None:
            return RawSpec(proto, yaml)
        if hasattr(spec_class, "to_plain"):
            return RawSpec(proto, yaml)  # a form of its own, which only its author reads
        message = self._messages.get(spec_class)
        if message is not None:
            return message.decode(proto)
        try:
            return spec_from_plain(spec_class, _plain_of_struct(Struct.FromString(proto)))
        except DecodeError as error:
            raise MessageError("the spec is not a google.protobuf.Struct") from error
        except (ValueError, TypeError, KeyError) as error:
            raise MessageError(f"the spec is not a {spec_class.__name__}: {error}") from error


def _fill(struct: Struct, plain: Mapping[str, Any]) -> None:
    fields = struct.fields
    for key, value in plain.items():
        _set(fields[str(key)], value)


def _set(into: Value, plain: Any) -> None:
    match plain:
        case None:
            into.null_value = 0  # type: ignore[assignment]  # the only value of its enum
        case bool():
            into.bool_value = plain
        case str():
            into.string_value = plain
        case int():
            if -_EXACT <= plain <= _EXACT:
                into.number_value = plain
            else:
                into.string_value = str(plain)
        case float():
            into.number_value = plain
        case Mapping():
            into.struct_value.SetInParent()
            _fill(into.struct_value, plain)
        case list() | tuple():
            into.list_value.SetInParent()
            for item in plain:
                _set(into.list_value.values.add(), item)
        case _:
            raise MessageError(f"a value of type {type(plain).__name__} does not fit into a google.protobuf.Struct")


def _plain_of_struct(struct: Struct) -> dict[str, Any]:
    return {key: _plain(value) for key, value in struct.fields.items()}


def _plain(value: Value) -> Any:
    match value.WhichOneof("kind"):
        case "bool_value":
            return value.bool_value
        case "string_value":
            return value.string_value
        case "number_value":
            number = value.number_value
            return int(number) if number.is_integer() else number
        case "struct_value":
            return _plain_of_struct(value.struct_value)
        case "list_value":
            return _plain_of_list(value.list_value)
    return None


def _plain_of_list(values: ListValue) -> list[Any]:
    return [_plain(value) for value in values.values]
