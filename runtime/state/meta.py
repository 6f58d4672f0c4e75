"""The `meta` namespace: the namespaces and types as resources, for clients."""

from collections.abc import Iterable
from typing import Any

from nodespan.runtime.errors import RegistrationError
from nodespan.runtime.resource import (
    META,
    Namespace,
    NamespaceSpec,
    ResourceDefinition,
    ResourceType,
    definition_resource,
)
from nodespan.runtime.resource.definition import clash
from nodespan.runtime.state.base import State


async def register_namespace(state: State, name: str, description: str = "") -> None:
    """Register a namespace. Raises ConflictError if it is registered."""
    await state.create(Namespace.new(name, NamespaceSpec(description=description)), owner=META)


async def register_meta(state: State) -> None:
    """Register the meta namespace and its two types. Raises ConflictError if it is registered."""
    await register_namespace(state, META, "What there is to know about the resources themselves.")
    for type in (ResourceDefinition, Namespace):
        await state.create(definition_resource(type), owner=META)


def check_types(state: State, types: Iterable[ResourceType[Any]]) -> None:
    """Raise RegistrationError if one of the types is registered with another definition, or would share a name."""
    types = tuple(types)
    if all(_is_registered(state, type) for type in types):
        return
    definitions = {definition.spec.type: definition.spec for definition in state.list(ResourceDefinition)}
    for type in types:
        for known_spec in [] if type.name in definitions else definitions.values():
            name = clash(type.definition, known_spec)
            if name:
                raise RegistrationError(
                    f"resource type {type.name!r} would be called {name!r}, and so is {known_spec.type!r}: "
                    "choose another name or alias"
                )
        definitions[type.name] = type.definition
        known = state.find(ResourceDefinition, type.name.lower())
        if known is not None and known.spec != type.definition:
            raise RegistrationError(f"resource type {type.name!r} is already registered with another definition")


def _is_registered(state: State, type: ResourceType[Any]) -> bool:
    known = state.find(ResourceDefinition, type.name.lower())
    return known is not None and known.spec == type.definition


async def register_types(state: State, types: Iterable[ResourceType[Any]]) -> None:
    """Register types and their default namespaces; those that are registered are left unchanged.

    Raises RegistrationError if another type is registered by the same name.
    """
    types = tuple(types)
    check_types(state, types)
    state.learn(types)
    if state.find(Namespace, META) is None:
        await register_meta(state)
    for type in types:
        if state.find(Namespace, type.kind.namespace) is None:
            await register_namespace(state, type.kind.namespace)
        if state.find(ResourceDefinition, type.name.lower()) is None:
            await state.create(definition_resource(type), owner=META)


__all__ = ["check_types", "register_meta", "register_namespace", "register_types"]
