"""The meta namespace tells which namespaces and types there are."""

import attrs
import pytest

from nodespan.runtime.errors import ConflictError, RegistrationError
from nodespan.runtime.resource import META, Namespace, ResourceDefinition, ResourceType
from nodespan.runtime.state import MemoryState
from nodespan.runtime.state.meta import check_types, register_meta, register_namespace, register_types


@attrs.frozen
class LinkSpec:
    mtu: int = 1500


Link = ResourceType("LinkSpecs.net.example.com", LinkSpec, namespace="network", aliases=("link",))


async def test_the_meta_namespace_describes_itself() -> None:
    state = MemoryState()
    await register_meta(state)
    assert [namespace.id for namespace in state.list(Namespace)] == ["meta"]
    assert state.get(Namespace, "meta").spec.description
    definitions = state.list(ResourceDefinition)
    assert [definition.id for definition in definitions] == [
        "namespaces.meta.cosi.dev",
        "resourcedefinitions.meta.cosi.dev",
    ]
    assert [definition.spec for definition in definitions] == [Namespace.definition, ResourceDefinition.definition]
    assert {resource.metadata.owner for resource in [*definitions, *state.list(Namespace)]} == {META}


async def test_to_register_twice_is_a_conflict() -> None:
    state = MemoryState()
    await register_meta(state)
    with pytest.raises(ConflictError):
        await register_meta(state)
    await register_namespace(state, "network", "links and such")
    assert state.get(Namespace, "network").spec.description == "links and such"
    with pytest.raises(ConflictError):
        await register_namespace(state, "network")


async def test_types_bring_their_namespace_and_the_meta_namespace_along() -> None:
    state = MemoryState()
    await register_types(state, [Link])
    assert [namespace.id for namespace in state.list(Namespace)] == ["meta", "network"]
    assert state.get(ResourceDefinition, "linkspecs.net.example.com").spec == Link.definition
    before = state.list(ResourceDefinition)
    await register_types(state, [Link])
    assert state.list(ResourceDefinition) == before


async def test_another_type_of_the_same_name_is_refused_before_anything_is_written() -> None:
    state = MemoryState()
    await register_types(state, [Link])
    before = state.list(ResourceDefinition)
    other = ResourceType("LinkSpecs.net.example.com", LinkSpec, namespace="network", aliases=("other",))
    new = ResourceType("RouteSpecs.net.example.com", LinkSpec, namespace="network")
    for refused in ([new, other], [other]):
        with pytest.raises(RegistrationError, match=r"'LinkSpecs\.net\.example\.com' is already registered"):
            check_types(state, refused)
        with pytest.raises(RegistrationError):
            await register_types(state, refused)
    assert state.list(ResourceDefinition) == before
