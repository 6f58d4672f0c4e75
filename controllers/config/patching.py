"""Configuration patches: strategic merges and lists of RFC 6902 operations, as the original's tools take them.

A strategic patch looks like the configuration itself: each of its documents goes to the one of the same identity, or
becomes a new one. Tables are merged key by key, lists appended but for a few, single values replaced unless the
patch has an empty text, and `$patch: delete` takes away the document, key or list item it stands in. Values keep the
notation they are written in; comments do not survive.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

import attrs

from nodespan.controllers.config.finding import Path, Span
from nodespan.controllers.config.merging import (
    document_identity,
    document_kind,
    is_main,
    merge_documents,
    merge_files,
    plain_content,
)
from nodespan.controllers.config.sources import SourceText, unbundle
from nodespan.controllers.config.tree import (
    ConfigSyntaxError,
    DocumentNode,
    Node,
    Scalar,
    Table,
    read_documents,
)
from nodespan.controllers.config.tree import Sequence as ListNode
from nodespan.runtime.codec.yamltext import AsWritten, dump

DIRECTIVE: Final = "$patch"
_DELETE: Final = "delete"
_IDENTITY: Final = ("apiVersion", "kind", "name")
_MAIN_IDENTITY: Final = ("version",)


class PatchError(Exception):
    """A patch, or what it is for, cannot be read, or the one not be applied; the text says why, and shows no values."""


@attrs.frozen(kw_only=True)
class Patch:
    """A patch as text, and the name of it in errors."""

    name: str
    text: str = attrs.field(repr=False)


def apply_patches(sources: Sequence[SourceText], patches: Iterable[Patch]) -> str:
    """The configuration that the sources make together, with the patches applied in their order, as one text.

    Consecutive lists of operations are one list. Raises PatchError, for sources that cannot be read too.
    """
    parts = [part for source in sources for part in unbundle(source)]
    files = [_documents(part.name, part.text) for part in parts]
    documents = [document for document in merge_files(files) if not _is_null(document.node)]
    operations: list[Any] = []
    for patch in patches:
        read = _read(patch)
        if read is None:
            continue
        if isinstance(read, ListNode):
            operations += _plain(read)
            continue
        documents, operations = _operate(documents, operations), []
        documents = _merge(documents, read, patch.name)
    return _text(_operate(documents, operations))


def _read(patch: Patch) -> "ListNode | list[Table] | None":
    """The operations of a patch, or its documents; None for an empty one. Raises PatchError."""
    nodes = [document.node for document in _documents(patch.name, patch.text) if not _is_null(document.node)]
    if not nodes:
        return None
    if len(nodes) == 1 and isinstance(nodes[0], ListNode):
        return nodes[0]
    tables = [node for node in nodes if isinstance(node, Table)]
    if len(tables) < len(nodes):
        raise PatchError(
            f"{patch.name}: a patch is documents of a configuration, or one list of RFC 6902 operations "
            "such as [{op: replace, path: /machine/type, value: worker}]"
        )
    return tables


def _documents(name: str, text: str) -> tuple[DocumentNode, ...]:
    """The documents of a text. Raises PatchError, with the place."""
    try:
        return read_documents(text)
    except ConfigSyntaxError as error:
        place = "" if error.span is None else f":{error.span.line + 1}:{error.span.column + 1}"
        hint = f"; {error.hint}" if error.hint else ""
        raise PatchError(f"{name}{place}: {error.message}{hint}") from error


# Lists of operations.


def _operate(documents: list[DocumentNode], operations: list[Any]) -> list[DocumentNode]:
    """The documents after RFC 6902 operations. Raises PatchError."""
    if not operations:
        return documents
    if len(documents) > 1:
        raise PatchError(
            "JSON6902 patches are not supported for multi-document machine configuration: "
            "write the patch as documents that are merged"
        )
    # Loaded for those who use such a patch, and for no one else.
    import jsonpatch
    import jsonpointer

    before = _plain(documents[0].node) if documents else {}
    try:
        after = jsonpatch.apply_patch(before, operations)
    except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException, TypeError, ValueError) as error:
        raise PatchError(f"failure applying rfc6902 patches to the machine configuration: {_why(error)}") from error
    if not isinstance(after, dict):
        raise PatchError("the rfc6902 patches leave no table of keys, and so no machine configuration")
    return list(read_documents(dump(after)))


def _why(error: Exception) -> str:
    """An error of the library without the values that it may quote."""
    text = str(error)
    return f"{type(error).__name__}" if "\n" in text or len(text) > 200 else text


# Strategic merges.


def _merge(documents: list[DocumentNode], patch: list[Table], name: str) -> list[DocumentNode]:
    result = list(documents)
    for table in patch:
        identity = document_identity(table)
        place = next((i for i, each in enumerate(result) if document_identity(each.node) == identity), None)
        if DIRECTIVE in table.values:
            _require_delete(table, name)
            if is_main(table) or "apiVersion" not in table.values:
                raise PatchError(
                    f"{name}: to delete a document, name its apiVersion and kind (and name, if it has one)"
                )
            if place is not None:
                del result[place]
            continue
        target = result[place].node if place is not None else Table(table.span, {}, 1)
        assert isinstance(target, Table)
        target, rest = _Deletion(table, name).run(target)
        if place is not None:
            result[place] = attrs.evolve(result[place], node=target)
        if set(rest.values) <= set(_MAIN_IDENTITY if is_main(table) else _IDENTITY):
            if place is None and not _says_delete(table):
                result.append(DocumentNode(node=rest))
            continue
        document = DocumentNode(node=rest)
        if place is None:
            result.append(document)
        else:
            result[place] = merge_documents(result[place], document, keeps_over_empty=True)
    return result


class _Deletion:
    """Carries out the deletions of one document of a patch."""

    def __init__(self, patch: Table, name: str) -> None:
        self._patch = patch
        self._name = name
        version = _scalar_text(patch, "apiVersion") or _scalar_text(patch, "version") or "v1alpha1"
        self._document = f"{document_kind(patch)}/{version}"

    def run(self, target: Table) -> tuple[Table, Table]:
        """The target without what is deleted, and the patch without its deletions. Raises PatchError."""
        changed, rest = self._table(target, self._patch, (), in_list=False)
        assert changed is not None  # the target is there
        return changed, rest or attrs.evolve(self._patch, values={})

    def _table(
        self, target: Table | None, patch: Table, path: Path, *, in_list: bool
    ) -> tuple[Table | None, Table | None]:
        values = dict(target.values) if target is not None else {}
        rest: dict[str, tuple[Span, Node]] = {}
        for key, (span, node) in patch.values.items():
            below = (*path, key)
            before = values[key][1] if key in values else None
            if isinstance(node, Table) and DIRECTIVE in node.values:
                _require_delete(node, self._name)
                if in_list:
                    raise PatchError(f"{self._name}: cannot delete an inner key in '{_dotted(below)}'")
                if before is None:
                    raise self._nothing(below)
                del values[key]
            elif isinstance(node, Table):
                inner = before if isinstance(before, Table) else None
                changed, left = self._table(inner, node, below, in_list=in_list)
                if changed is not None:
                    values[key] = (values[key][0], changed)
                if left is not None:
                    rest[key] = (span, left)
            elif isinstance(node, ListNode):
                items = before if isinstance(before, ListNode) else None
                changed_list, left_list = self._list(items, node, below, in_list=in_list)
                if changed_list is not None and items is not None and len(changed_list.items) < len(items.items):
                    if changed_list.items:
                        values[key] = (values[key][0], changed_list)
                    else:
                        del values[key]
                if left_list is not None:
                    rest[key] = (span, left_list)
            else:
                rest[key] = (span, node)
        changed_table = None if target is None else attrs.evolve(target, values=values)
        return changed_table, None if patch.values and not rest else attrs.evolve(patch, values=rest)

    def _list(
        self, target: ListNode | None, patch: ListNode, path: Path, *, in_list: bool
    ) -> tuple[ListNode | None, ListNode | None]:
        items = list(target.items) if target is not None else []
        rest: list[Node] = []
        for item in patch.items:
            if not isinstance(item, Table):
                rest.append(item)
            elif DIRECTIVE in item.values:
                _require_delete(item, self._name)
                if in_list:
                    raise PatchError(f"{self._name}: cannot delete an inner key in '{_dotted(path)}'")
                self._delete_item(items, item, path)
            else:
                # Deletions deeper in a list item have no place that could be named.
                _, left = self._table(None, item, path, in_list=True)
                rest.append(item if left is None else left)
        changed = None if target is None else attrs.evolve(target, items=tuple(items))
        return changed, None if patch.items and not rest else attrs.evolve(patch, items=tuple(rest))

    def _delete_item(self, items: list[Node], patch: Table, path: Path) -> None:
        """Remove the first item whose field equals the first key of the patch's item beside the directive."""
        key = next((key for key in patch.values if key != DIRECTIVE), None)
        if key is None:
            raise PatchError(
                f"{self._name}: {_dotted(path)}: say which item to delete by one more key, "
                "for example {interface: eth0, $patch: delete}"
            )
        meant = plain_content(patch.values[key][1])
        for index, item in enumerate(items):
            if isinstance(item, Table) and key in item.values and plain_content(item.values[key][1]) == meant:
                del items[index]
                return
        raise self._nothing(path)

    def _nothing(self, path: Path) -> PatchError:
        dotted = _dotted(path)
        return PatchError(
            f"{self._name}: patch delete: path '{dotted}' in document '{self._document}': "
            f"failed to delete path '{dotted}': lookup failed"
        )


def _says_delete(node: Node) -> bool:
    if isinstance(node, Table):
        return DIRECTIVE in node.values or any(_says_delete(value) for _, value in node.values.values())
    return isinstance(node, ListNode) and any(_says_delete(item) for item in node.items)


def _require_delete(table: Table, name: str) -> None:
    if _scalar_text(table, DIRECTIVE) != _DELETE:
        span = table.values[DIRECTIVE][0]
        raise PatchError(f"{name}:{span.line + 1}:{span.column + 1}: {DIRECTIVE} can only be {_DELETE}")


def _scalar_text(table: Table, key: str) -> str:
    _, value = table.values.get(key, (None, None))
    return value.text if isinstance(value, Scalar) and not value.is_null else ""


def _dotted(path: Path) -> str:
    return ".".join(str(part) for part in path)


def _is_null(node: Node) -> bool:
    return isinstance(node, Scalar) and node.is_null


# Text.


def _text(documents: Iterable[DocumentNode]) -> str:
    return "---\n".join(dump(_plain(document.node)) for document in documents)


def _plain(node: Node) -> Any:
    """Plain data; single values keep their notation."""
    match node:
        case Scalar():
            return _written(node)
        case ListNode():
            return [_plain(item) for item in node.items]
        case Table():
            return {key: _plain(value) for key, (_, value) in node.values.items()}


def _written(scalar: Scalar) -> Any:
    if scalar.tag:
        return AsWritten(f"!<{scalar.tag}> {json.dumps(scalar.text)}")
    if scalar.is_null:
        return None
    # A plain value of several lines cannot be anything but text.
    return AsWritten(scalar.text) if scalar.plain and "\n" not in scalar.text else scalar.text
