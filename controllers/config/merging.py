"""Merges several files into one configuration: documents with the same identity become one.

Tables are merged key by key, lists appended, single values replaced, by the later file each time. Two kinds of list
items know whether they are the same: the devices of the main document, by their name or their whole selector, and the
VLANs of a device, by their number. The subnets of pods and services are replaced as a whole: two lists of them never
mean both. Each value keeps its place in its file.
"""

from collections.abc import Iterable
from collections.abc import Sequence as Items
from typing import Final

import attrs

from nodespan.controllers.config.finding import Path
from nodespan.controllers.config.tree import DocumentNode, Node, Scalar, Sequence, Table

_INTERFACES: Path = ("machine", "network", "interfaces")
_VLANS = "vlans"
_REPLACED: Final = frozenset(
    (*path, key)
    for path in (("cluster", "network"), ("KubeNetworkConfig",))
    for key in ("podSubnets", "serviceSubnets")
)
# A kind with two spellings.
KIND_SPELLINGS: Final = {"KubespanEndpointsConfig": "KubeSpanEndpointsConfig"}
# What identifies an item: (key, value); the first key that is set counts.
_DEVICE_KEYS = ("interface", "deviceSelector")
_VLAN_KEYS = ("vlanId",)
_Identity = tuple[object, ...]
_MAIN: _Identity = ("", "", "")


def merge_files(files: Iterable[Items[DocumentNode]]) -> tuple[DocumentNode, ...]:
    """The documents of all files, in the order in which they first appear.

    A document that is repeated within one file stays repeated: that is a mistake, not a second part.
    """
    merged: list[DocumentNode] = []
    for documents in files:
        places: dict[_Identity, int | None] = {}
        for index, known in reversed(list(enumerate(merged))):
            places[document_identity(known.node)] = index
        for document in documents:
            place = places.pop(document_identity(document.node), None)
            if place is None:
                merged.append(document)
            else:
                merged[place] = _merge_documents(merged[place], document)
    return tuple(merged)


def document_identity(node: Node) -> _Identity:
    """What identifies a document: its apiVersion, kind and name. The main document has none of them."""
    if not isinstance(node, Table):
        return (id(node),)
    api_version, kind, name = (_text(node, key) for key in ("apiVersion", "kind", "name"))
    return (api_version, KIND_SPELLINGS.get(kind, kind), name) if kind else _MAIN


def _merge_documents(first: DocumentNode, second: DocumentNode) -> DocumentNode:
    _, kind, _ = document_identity(first.node)
    node = _merge(first.node, second.node, (str(kind),) if kind else ())
    return DocumentNode(node=node, findings=(*first.findings, *second.findings))


def _merge(first: Node, second: Node, path: Path) -> Node:
    """Both together. `path` is where they stand; that of a document other than the main one begins with its kind."""
    if isinstance(second, Scalar) and second.is_null:
        return first
    if isinstance(first, Table) and isinstance(second, Table):
        values = dict(first.values)
        for key, (span, node) in second.values.items():
            before = values.get(key)
            values[key] = (
                (span, node)
                if before is None
                else (before[0] if _grows(before[1], node) else span, _merge(before[1], node, (*path, key)))
            )
        return attrs.evolve(first, values=values)
    if isinstance(first, Sequence) and isinstance(second, Sequence) and path not in _REPLACED:
        return attrs.evolve(first, items=_merge_items(first.items, second.items, path))
    return second


def _grows(first: Node, second: Node) -> bool:
    """Whether the first value stays, with or without something of the second, rather than being replaced."""
    return type(first) is type(second) is not Scalar or (isinstance(second, Scalar) and second.is_null)


def _merge_items(first: tuple[Node, ...], second: tuple[Node, ...], path: Path) -> tuple[Node, ...]:
    keys = _keys_of_items(path)
    items = list(first)
    places: dict[_Identity, int] = {}
    for index, item in reversed(list(enumerate(items))):
        places[_item_identity(item, keys)] = index
    for item in second:
        place = places.get(_item_identity(item, keys)) if keys else None
        if place is None:
            items.append(item)
        else:
            items[place] = _merge(items[place], item, (*path, ""))
    return tuple(items)


def _keys_of_items(path: Path) -> tuple[str, ...]:
    if path == _INTERFACES:
        return _DEVICE_KEYS
    if path[: len(_INTERFACES)] == _INTERFACES and path[len(_INTERFACES) + 1 :] == (_VLANS,):
        return _VLAN_KEYS
    return ()


def _item_identity(item: Node, keys: tuple[str, ...]) -> _Identity:
    """An item without any of the keys equals no other."""
    if isinstance(item, Table):
        for key in keys:
            if key in item.values:
                return (key, _plain(item.values[key][1]))
    return (id(item),)


def _plain(node: Node) -> object:
    """The content of a node without its place; the order of keys does not count."""
    match node:
        case Scalar():
            return node.text
        case Sequence():
            return tuple(_plain(item) for item in node.items)
        case Table():
            return frozenset((key, _plain(value)) for key, (_, value) in node.values.items())


def _text(node: Table, key: str) -> str:
    _, value = node.values.get(key, (None, None))
    return value.text if isinstance(value, Scalar) and not value.is_null else ""
