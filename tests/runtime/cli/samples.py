"""Resources as an agent sends them, for tests of what is shown of them."""

from typing import Any

import attrs

from nodespan.resources.network import AddressStatus, AddressStatusSpec, LinkStatus, LinkStatusSpec
from nodespan.runtime.api import protocol
from nodespan.runtime.api.local import _render_data, _render_yaml
from nodespan.runtime.codec.plain import parse_time, spec_from_plain, spec_to_plain
from nodespan.runtime.resource import Metadata, Resource, ResourceType, tombstone

NODE = "192.168.0.10"
BOOTSTRAPPED = {"event": protocol.BOOTSTRAPPED}


def definition(type: ResourceType[Any]) -> dict[str, Any]:
    """The first answer to a request about a type."""
    return {"definition": spec_to_plain(type.definition)}


def data(event: str, resource: Resource[Any]) -> dict[str, Any]:
    """An answer of the form `data`."""
    return _render_data(event, resource)


def yaml(event: str, resource: Resource[Any]) -> dict[str, Any]:
    """An answer of the form `yaml`."""
    return _render_yaml(event, resource)


def resource(
    type: ResourceType[Any],
    id: str,
    spec: Any,
    *,
    version: int = 1,
    owner: str = "",
    created: str = "2026-01-02T03:04:05Z",
    updated: str = "2026-01-02T03:04:05Z",
    **more: Any,
) -> Resource[Any]:
    """A stored resource."""
    times = (parse_time(created), parse_time(updated))
    metadata = Metadata(type.kind.namespace, type.name, id, version, owner, created=times[0], updated=times[1])
    return Resource(attrs.evolve(metadata, **more), spec)


def absent(type: ResourceType[Any], id: str) -> Resource[Any]:
    """What stands for a resource that is not there."""
    return tombstone(type.kind, id)


def address(link: str, address: str, *, index: int = 2, version: int = 1, **more: Any) -> Resource[Any]:
    """An address of the originals' documentation."""
    spec = {
        "address": address,
        "linkIndex": index,
        "linkName": link,
        "family": "inet4",
        "scope": "global",
        "flags": "permanent",
        "priority": 0,
    }
    return resource(
        AddressStatus,
        f"{link}/{address}",
        spec_from_plain(AddressStatusSpec, spec),
        version=version,
        owner="network.AddressStatusController",
        **more,
    )


def link(id: str, *, version: int = 1, **spec: Any) -> Resource[Any]:
    """A link, by the outside names of its fields."""
    return resource(
        LinkStatus,
        id,
        spec_from_plain(LinkStatusSpec, spec),
        version=version,
        owner="network.LinkStatusController",
    )
