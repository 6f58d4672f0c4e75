"""The rules for all clients: only registered types, in registered namespaces."""

from typing import Any

from nodespan.runtime.errors import AccessError
from nodespan.runtime.resource import Namespace, Pointer, ResourceDefinition, ResourceDefinitionSpec
from nodespan.runtime.state.base import State
from nodespan.runtime.text.suggestions import did_you_mean


def check_registered(state: State, pointer: Pointer[Any]) -> ResourceDefinitionSpec:
    """The definition of the type. Raises AccessError if type or namespace are not registered."""
    kind = {"namespace": pointer.namespace, "type": pointer.type}
    definition = state.find(ResourceDefinition, pointer.type.lower())
    if definition is None or definition.spec.type != pointer.type:
        raise AccessError(f"no such type is registered: {pointer.type}", **kind)
    if state.find(Namespace, pointer.namespace) is None:
        near = did_you_mean(pointer.namespace, (namespace.id for namespace in state.list(Namespace)))
        raise AccessError(f"no such namespace is registered: {pointer.namespace}{near}", **kind)
    return definition.spec
