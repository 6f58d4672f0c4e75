"""Specs and resources as plain data (dicts, lists, text, numbers), which YAML, JSON and the local wire are made of.

The spec class says what its fields are called outside and which are left out when empty; see
`nodespan.runtime.resource.spec`.
"""

import base64
import enum
import functools
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from operator import attrgetter
from typing import Any, TypeVar

import attrs
from cattrs import Converter
from cattrs.errors import ForbiddenExtraKeysError
from cattrs.gen import make_dict_structure_fn, override

from nodespan.runtime.codec.duration import format_duration, parse_duration
from nodespan.runtime.resource import (
    FrozenMapping,
    FrozenPairs,
    Metadata,
    Phase,
    Resource,
    TextFlag,
    format_version,
    parse_version,
)
from nodespan.runtime.resource.metadata import NO_SPEC
from nodespan.runtime.resource.spec import is_omitted_when_empty, outside_name

T = TypeVar("T")
_BILLION = 10**9
_EPOCH = datetime.fromtimestamp(0, UTC)
_ADDRESSES = (IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network)


def _unstructure_class(cls: type[Any], converter: Converter) -> Callable[[Any], Any]:
    # Not cattrs' own hook: it moves fields that may be left out to the end, and users see the order.
    fields = [(field, outside_name(field), is_omitted_when_empty(field)) for field in attrs.fields(cls)]

    def unstructure(spec: Any) -> dict[str, Any]:
        plain = {}
        for field, outside, omit_empty in fields:
            value = getattr(spec, field.name)
            if not omit_empty or not _is_empty(value, field.default):
                plain[outside] = converter.unstructure(value)
        return plain

    return unstructure


def _is_empty(value: Any, default: Any) -> bool:
    # A choice is text and never false: its empty value is the default. Beside None, 0 and false are values.
    if isinstance(value, enum.Enum):
        return bool(value == default)
    return value is None if default is None else not value


def _structure_class(cls: type[Any], converter: Converter) -> Callable[[Any, Any], Any]:
    renamed: Any = {field.name: override(rename=outside_name(field)) for field in attrs.fields(cls)}
    structure_mapping = make_dict_structure_fn(cls, converter, _cattrs_forbid_extra_keys=True, **renamed)

    def structure(data: Any, wanted: Any) -> Any:
        if not isinstance(data, Mapping):
            raise TypeError(f"{cls.__name__} is made of a mapping, not of a {type(data).__name__}")
        return structure_mapping(data, wanted)

    return structure


def _make_converter() -> Converter:
    converter = Converter(detailed_validation=False)
    converter.register_unstructure_hook_factory(attrs.has, lambda cls: _unstructure_class(cls, converter))
    converter.register_structure_hook_factory(attrs.has, lambda cls: _structure_class(cls, converter))
    converter.register_unstructure_hook(bytes, lambda value: base64.b64encode(value).decode())
    converter.register_structure_hook(bytes, lambda value, _: base64.b64decode(value, validate=True))
    converter.register_unstructure_hook(
        datetime, lambda value: value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    )
    converter.register_structure_hook(datetime, lambda value, _: datetime.fromisoformat(value))
    converter.register_unstructure_hook(timedelta, format_duration)
    converter.register_structure_hook(timedelta, lambda value, _: parse_duration(value))
    for address in _ADDRESSES:
        converter.register_unstructure_hook(address, str)
        converter.register_structure_hook(address, lambda value, cls: cls(value))
    # Choices and flags are text and numbers already, but as members they would survive neither msgpack nor YAML. By
    # class, for by predicate they would come behind text and numbers.
    converter.register_unstructure_hook(enum.StrEnum, lambda value: value.value)
    converter.register_unstructure_hook(TextFlag, lambda value: value.text())
    converter.register_unstructure_hook(
        FrozenPairs, lambda pairs: {n: converter.unstructure(v) for n, v in pairs.items()}
    )
    converter.register_structure_hook(TextFlag, lambda value, cls: cls.parse(value))
    return converter


_converter = _make_converter()


def spec_to_plain(spec: object) -> Any:
    """Plain data for a spec; for a resource without one (a tombstone) an empty mapping.

    A spec class with a method `to_plain` decides for itself what it looks like outside.
    """
    if spec is NO_SPEC:
        return {}
    own = getattr(spec, "to_plain", None)
    return _converter.unstructure(spec) if own is None else own()


def _is_one_text(values: Sequence[object]) -> bool:
    """Whether all are one and the same text. That most others are not is found out without a look at them all."""
    first = values[0]
    return type(first) is str and first is values[-1] and values.count(first) == len(values)


# What `field_to_plain` returns for a field that plain data does not have; "" for texts.
LEFT_OUT: Any = object()
# Classes whose values are plain data already.
_TEXT = frozenset({str})
_PLAIN = frozenset({str, int})
_fields: dict[type[Any], Mapping[str, tuple[str, bool, Any]]] = {}


def field_to_plain(cls: type[Any], specs: Sequence[object], name: str) -> tuple[list[Any], frozenset[type]]:
    """One field of `spec_to_plain` of each spec, by its name outside; LEFT_OUT where it is empty and left out.

    Also the types of what was found, empty if it was not plain data already: of texts nothing is left to be made.
    All specs are of this class. Raises LookupError if it has no such field, or decides for itself what its specs look
    like outside. A field of many specs at once costs far less than the fields one by one.
    """
    fields = _fields.get(cls)
    if fields is None:
        own = () if not attrs.has(cls) or hasattr(cls, "to_plain") else attrs.fields(cls)
        fields = {outside_name(field): (field.name, is_omitted_when_empty(field), field.default) for field in own}
        _fields[cls] = fields
    inside, omit_empty, default = fields[name]
    values = [*map(attrgetter(inside), specs)]
    types = _TEXT if _is_one_text(values) else frozenset(map(type, values))
    if types == _TEXT or (types <= _PLAIN and not omit_empty):
        return values, types
    if types <= _PLAIN:
        return [value or LEFT_OUT for value in values], frozenset()
    unstructure = _converter.unstructure
    plain = [LEFT_OUT if omit_empty and _is_empty(value, default) else unstructure(value) for value in values]
    return plain, frozenset()


def spec_from_plain(cls: type[T], data: Any) -> T:
    """The spec that plain data stands for. Raises ValueError, TypeError or KeyError for invalid data."""
    try:
        return _converter.structure(data, cls)
    except ForbiddenExtraKeysError as error:
        raise ValueError(str(error)) from error


def format_time(nanoseconds: int) -> str:
    """Wall-clock nanoseconds as RFC 3339 text: UTC, whole seconds."""
    return _format_second(nanoseconds // _BILLION)


# What is made at a start, or read at once, has the time of few seconds.
@functools.lru_cache(maxsize=256)
def _format_second(second: int) -> str:
    return f"{datetime.fromtimestamp(second, UTC).replace(tzinfo=None).isoformat()}Z"


def parse_time(text: str) -> int:
    """Nanoseconds for RFC 3339 text, truncated to microseconds. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"time {text!r} has no zone, write it like 2026-01-02T03:04:05Z")
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1000


def metadata_to_plain(metadata: Metadata) -> dict[str, Any]:
    """Metadata in the order that users see; all values are text, empty collections are left out."""
    plain: dict[str, Any] = {
        "namespace": metadata.namespace,
        "type": metadata.type,
        "id": metadata.id,
        "version": format_version(metadata.version),
        "owner": metadata.owner,
        "phase": metadata.phase.value,
        "created": format_time(metadata.created),
        "updated": format_time(metadata.updated),
    }
    if metadata.labels:
        plain["labels"] = dict(metadata.labels)
    if metadata.annotations:
        plain["annotations"] = dict(metadata.annotations)
    if metadata.finalizers:
        plain["finalizers"] = list(metadata.finalizers)
    return plain


def metadata_from_plain(plain: Mapping[str, Any]) -> Metadata:
    """Metadata from what `metadata_to_plain` gave. Raises ValueError or KeyError for anything else."""
    return Metadata(
        plain["namespace"],
        plain["type"],
        plain["id"],
        parse_version(plain["version"]),
        plain["owner"],
        Phase(plain["phase"]),
        parse_time(plain["created"]),
        parse_time(plain["updated"]),
        FrozenMapping(plain.get("labels", {})),
        FrozenMapping(plain.get("annotations", {})),
        tuple(plain.get("finalizers", ())),
    )


def resource_to_plain(resource: Resource[Any]) -> dict[str, Any]:
    """`metadata` and `spec`, as plain data."""
    return {"metadata": metadata_to_plain(resource.metadata), "spec": spec_to_plain(resource.spec)}
