"""A resource as a condition names it, in the form of the command line: `links/eth0`."""

from collections.abc import Iterable
from typing import Any, Self

import attrs

from nodespan.runtime.codec.plain import resource_to_plain
from nodespan.runtime.resource import Kind, Resource, ResourceDefinitionSpec, named_definitions
from nodespan.runtime.text import jsonpath

Definitions = Iterable[Resource[ResourceDefinitionSpec]]


class NoSuchTypeError(Exception):
    """The name matches no type, or more than one; the text includes the name."""


@attrs.frozen
class NamedResource:
    """A type, by any of its names, and an id, which may contain slashes."""

    type: str
    id: str

    @classmethod
    def of(cls, text: str) -> Self:
        """`TYPE/ID`."""
        type, _, id = text.partition("/")
        return cls(type, id)

    def kind_among(self, definitions: Definitions) -> Kind[Any] | None:
        """The kind of this name, None if there is none or the name is ambiguous."""
        try:
            return self.require_kind(definitions)
        except NoSuchTypeError:
            return None

    def require_kind(self, definitions: Definitions) -> Kind[Any]:
        """The kind of this name. Raises NoSuchTypeError."""
        found = named_definitions(definitions, self.type)
        if not found:
            raise NoSuchTypeError(f"no such type is registered: {self.type!r}")
        if len(found) > 1:
            names = ", ".join(definition.type for definition in found)
            raise NoSuchTypeError(f"type {self.type!r} is ambiguous, it may be any of: {names}")
        return Kind(found[0].default_namespace, found[0].type)

    def fault(self, resource: Resource[Any] | None, expression: str, expected: str) -> str:
        """How the resource differs from what is expected, "" if it does not."""
        if resource is None or resource.metadata.is_tearing_down:
            return "there is no such resource"
        if not expression:
            return ""
        try:
            found = jsonpath.compile(expression).render(resource_to_plain(resource), allow_missing=True)
        except jsonpath.JSONPathError as error:
            return str(error)
        return "" if found == expected else f"{expression} is {found!r}, not {expected!r}"
