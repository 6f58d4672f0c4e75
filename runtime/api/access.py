"""The rules for all clients: only registered types, in registered namespaces, and how a type may be called."""

from collections.abc import Iterable
from typing import Any

from nodespan.runtime.api.protocol import NO_SUCH_TYPE
from nodespan.runtime.errors import AccessError
from nodespan.runtime.resource import (
    Namespace,
    Pointer,
    Resource,
    ResourceDefinition,
    ResourceDefinitionSpec,
    named_definitions,
)
from nodespan.runtime.state.base import State
from nodespan.runtime.text.suggestions import did_you_mean


def check_registered(state: State, pointer: Pointer[Any]) -> ResourceDefinitionSpec:
    """The definition of the type. Raises AccessError if type or namespace are not registered."""
    kind = {"namespace": pointer.namespace, "type": pointer.type}
    definition = state.find(ResourceDefinition, pointer.type.lower())
    if definition is None or definition.spec.type != pointer.type:
        raise AccessError(f"{NO_SUCH_TYPE}: {pointer.type}", **kind)
    if state.find(Namespace, pointer.namespace) is None:
        near = did_you_mean(pointer.namespace, (namespace.id for namespace in state.list(Namespace)))
        raise AccessError(f"no such namespace is registered: {pointer.namespace}{near}", **kind)
    return definition.spec


class TypeNameError(LookupError):
    """A text names no type, or several (`is_ambiguous`); the message says which."""

    def __init__(self, message: str, *, is_ambiguous: bool) -> None:
        super().__init__(message)
        self.is_ambiguous = is_ambiguous


def definition_called(definitions: Iterable[Resource[ResourceDefinitionSpec]], typed: str) -> ResourceDefinitionSpec:
    """The definition of the type that a user means by this text. Raises TypeNameError."""
    known = list(definitions)
    found = named_definitions(known, typed)
    if not found:
        names = (name for each in known for name in (each.spec.display_type, each.spec.type, *each.spec.aliases))
        near = did_you_mean(typed, names)
        raise TypeNameError(f"{NO_SUCH_TYPE}: {typed!r}{near}; `nodespan get rd` lists all", is_ambiguous=False)
    if len(found) > 1:
        names_found = ", ".join(definition.type.lower() for definition in found)
        raise TypeNameError(f"type {typed!r} is ambiguous, it may be any of: {names_found}", is_ambiguous=True)
    return found[0]
