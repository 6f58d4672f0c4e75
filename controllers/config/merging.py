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
# Lists and tables that the later one replaces, by the kind of their document ("" is the main one).
_REPLACED: Final[frozenset[tuple[str, Path]]] = frozenset(
    {
        ("", ("cluster", "network", "podSubnets")),
        ("", ("cluster", "network", "serviceSubnets")),
        ("KubeNetworkConfig", ("podSubnets",)),
        ("KubeNetworkConfig", ("serviceSubnets",)),
        ("NetworkRuleConfig", ("portSelector", "ports")),
        ("NetworkRuleConfig", ("ingress",)),
        ("BGPInstanceConfig", ("advertise",)),
        ("BGPInstanceConfig", ("importRoutes",)),
        ("BGPInstanceConfig", ("neighbors",)),
        ("LinkAliasConfig", ("selector",)),
    }
)
# A kind with two spellings.
KIND_SPELLINGS: Final = {"KubespanEndpointsConfig": "KubeSpanEndpointsConfig"}
# What identifies an item: (key, value); the first key that is set counts.
_DEVICE_KEYS = ("interface", "deviceSelector")
_VLAN_KEYS = ("vlanId",)
_KEYED: Final[dict[tuple[str, Path], tuple[str, ...]]] = {
    ("", _INTERFACES): _DEVICE_KEYS,
    ("", ("cluster", "apiServer", "admissionControl")): ("name",),
    ("ExtensionServiceConfig", ("configFiles",)): ("mountPath",),
}
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
                merged[place] = merge_documents(merged[place], document)
    return tuple(merged)


def document_identity(node: Node) -> _Identity:
    """What identifies a document: its apiVersion, kind and name. The main document has none of them."""
    if not isinstance(node, Table):
        return (id(node),)
    api_version, kind, name = (_text(node, key) for key in ("apiVersion", "kind", "name"))
    return (api_version, KIND_SPELLINGS.get(kind, kind), name) if kind else _MAIN


def is_main(node: Node) -> bool:
    """Whether it is the main document."""
    return document_identity(node) == _MAIN


def document_kind(node: Node) -> str:
    """The kind of a document; "" for the main one."""
    return "" if is_main(node) else str(document_identity(node)[1])


def merge_documents(first: DocumentNode, second: DocumentNode, *, keeps_over_empty: bool = False) -> DocumentNode:
    """Two documents of one identity as one. `keeps_over_empty`: an empty text in the second changes nothing."""
    node = _Merger(document_kind(first.node), keeps_over_empty=keeps_over_empty).merge(first.node, second.node, ())
    return DocumentNode(node=node, findings=(*first.findings, *second.findings))


class _Merger:
    """Merges the nodes of two documents."""

    def __init__(self, kind: str, *, keeps_over_empty: bool) -> None:
        self._kind = kind
        self._keeps_over_empty = keeps_over_empty

    def merge(self, first: Node, second: Node, path: Path) -> Node:
        """Both together, which stand at the path."""
        if self._stays(second):
            return first
        if (self._kind, path) in _REPLACED:
            return second
        if isinstance(first, Table) and isinstance(second, Table):
            values = dict(first.values)
            for key, (span, node) in second.values.items():
                before = values.get(key)
                values[key] = (
                    (span, node)
                    if before is None
                    else (
                        before[0] if self._grows(before[1], node) else span,
                        self.merge(before[1], node, (*path, key)),
                    )
                )
            return attrs.evolve(first, values=values)
        if isinstance(first, Sequence) and isinstance(second, Sequence):
            return attrs.evolve(first, items=self._merge_items(first.items, second.items, path))
        return second

    def _stays(self, second: Node) -> bool:
        """Whether a second value changes nothing."""
        return isinstance(second, Scalar) and (
            second.is_null or (self._keeps_over_empty and not second.text and not second.tag)
        )

    def _grows(self, first: Node, second: Node) -> bool:
        """Whether the first value stays, with or without something of the second, rather than being replaced."""
        return type(first) is type(second) is not Scalar or self._stays(second)

    def _merge_items(self, first: tuple[Node, ...], second: tuple[Node, ...], path: Path) -> tuple[Node, ...]:
        keys = _keys_of_items(self._kind, path)
        items = list(first)
        places: dict[_Identity, int] = {}
        for index, item in reversed(list(enumerate(items))):
            places[_item_identity(item, keys)] = index
        for item in second:
            place = places.get(_item_identity(item, keys)) if keys else None
            if place is None:
                items.append(item)
            else:
                items[place] = self.merge(items[place], item, (*path, ""))
        return tuple(items)


def _keys_of_items(kind: str, path: Path) -> tuple[str, ...]:
    """What identifies the items of a list of a document of this kind ("" is the main one); empty if nothing does."""
    if (kind, path) in _KEYED:
        return _KEYED[kind, path]
    if not kind and path[: len(_INTERFACES)] == _INTERFACES and path[len(_INTERFACES) + 1 :] == (_VLANS,):
        return _VLAN_KEYS
    return ()


def _item_identity(item: Node, keys: tuple[str, ...]) -> _Identity:
    """An item without any of the keys equals no other."""
    if isinstance(item, Table):
        for key in keys:
            if key in item.values:
                return (key, plain_content(item.values[key][1]))
    return (id(item),)


def plain_content(node: Node) -> object:
    """The content of a node without its place, to be compared; the order of keys does not count."""
    match node:
        case Scalar():
            return node.text
        case Sequence():
            return tuple(plain_content(item) for item in node.items)
        case Table():
            return frozenset((key, plain_content(value)) for key, (_, value) in node.values.items())


def _text(node: Table, key: str) -> str:
    _, value = node.values.get(key, (None, None))
    return value.text if isinstance(value, Scalar) and not value.is_null else ""
