"""The keys of the configuration's classes: which keys there are, and at which paths of a document."""

import functools
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from nodespan.runtime.resource.spec import outside_name

_HEAD = ("apiVersion", "kind")


@attrs.frozen
class Field:
    """A field of a class, and whether its value is a secret."""

    attribute: str
    hint: Any
    is_secret: bool


@functools.cache
def fields_of(cls: type[Any]) -> Mapping[str, Field]:
    """The fields of a class by the names they have in a configuration."""
    hints = typing.get_type_hints(cls, include_extras=True)
    return {
        outside_name(field): Field(field.name, _without_none(hints[field.name]), field.repr is False)
        for field in attrs.fields(cls)
    }


@functools.cache
def places_of(root: type[Any]) -> Mapping[str, tuple[str, ...]]:
    """For each key, in lower case, the paths at which it stands in a document of this class, the shortest first.

    A path is like `machine.network.interfaces[].mtu`.
    """
    places: dict[str, list[str]] = {}
    for path in _paths(root, ""):
        places.setdefault(path.rpartition(".")[2].lower(), []).append(path)
    return {key: tuple(sorted(paths, key=lambda path: (path.count("."), path))) for key, paths in places.items()}


def _paths(cls: Any, prefix: str) -> Iterator[str]:
    for key, field in fields_of(cls).items():
        if key in _HEAD:
            continue
        hint, path = field.hint, f"{prefix}{key}"
        yield path
        if typing.get_origin(hint) is tuple:
            hint, path = typing.get_args(hint)[0], f"{path}[]"
        if attrs.has(hint):
            yield from _paths(hint, f"{path}.")


def _without_none(hint: Any) -> Any:
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        (hint,) = (part for part in typing.get_args(hint) if part is not types.NoneType)
    return hint
