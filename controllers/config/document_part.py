"""One document of a configuration: its kind, its value, and the findings about it."""

import typing
from collections.abc import Iterator
from collections.abc import Sequence as Texts
from typing import Any

import attrs

from nodespan.controllers.common.quoting import quote
from nodespan.controllers.config.finding import Finding, Path, Span, at, path_text
from nodespan.controllers.config.merging import KIND_SPELLINGS
from nodespan.controllers.config.not_applied import (
    is_kind_of_others,
    is_known_elsewhere,
    key_not_applied,
    kind_not_applied,
)
from nodespan.controllers.config.problem import Ignored, Problem
from nodespan.controllers.config.rules.entry import Entry
from nodespan.controllers.config.rules.replaced import is_set
from nodespan.controllers.config.sources import SourceText
from nodespan.controllers.config.structure import Structured, closest, structure
from nodespan.controllers.config.tree import (
    DocumentNode,
    Node,
    Scalar,
    Sequence,
    Table,
    locate,
)
from nodespan.controllers.config.without_effect import without_effect
from nodespan.resources.config import Document, MainDocument, NodespanConfig

# How deep the keys of the main document are that other documents may exclude.
_GIVEN_DEPTH = 2
_MAIN_KEYS = ("machine", "cluster", "debug", "persist")
_CLASSES: dict[str, type] = {
    str(attrs.fields_dict(cls)["kind"].default): cls for cls in (*typing.get_args(Document), NodespanConfig)
}
_OTHERS = tuple(_CLASSES.values())


@attrs.frozen(kw_only=True)
class DocumentPart:
    """One document: its nodes, its value, and the findings about it."""

    node: Node
    entry: Entry
    findings: tuple[Finding, ...]
    foreign: tuple[tuple[Path, Span], ...] = ()

    @classmethod
    def of(cls, document: DocumentNode) -> "DocumentPart":
        """Identify the document, and read its value."""
        node = document.node
        if not isinstance(node, Table):
            finding = at(
                message="a document must have keys, like machine: or kind:", hint="check that this is the right file"
            )
            return cls(node=node, entry=Entry(), findings=(*document.findings, finding))
        api_version, kind, name = (_text(node, key) for key in ("apiVersion", "kind", "name"))
        kind = KIND_SPELLINGS.get(kind, kind)
        expected_class = _class_of(node, kind)
        findings = (*document.findings, *_check_head(node, api_version, kind, expected_class))
        given = _given(node, is_main=expected_class is MainDocument)
        if expected_class is None:
            entry = Entry(api_version=api_version, kind=kind, name=name, given=given)
            span = locate(node, ("kind",))
            findings = findings or tuple(kind_not_applied(kind))
            return cls(node=node, entry=entry, findings=findings, foreign=(((), span),) if not findings else ())
        structured: Structured[Any] = structure(
            expected_class, node, others=_OTHERS if expected_class is MainDocument else ()
        )
        entry = Entry(api_version=api_version, kind=kind, name=name, value=structured.value, given=given)
        found = tuple(_with_separator(finding, expected_class) for finding in structured.findings)
        findings = (*findings, *_without_ignored_devices(structured.value, found))
        is_main = expected_class is MainDocument
        warned = tuple(finding for path, _ in structured.foreign if is_main for finding in key_not_applied(path))
        return cls(
            node=node,
            entry=entry,
            findings=(*findings, *warned),
            foreign=tuple(part for part in structured.foreign if part[0] not in {each.path for each in warned}),
        )

    def locate(self, finding: Finding) -> Span:
        """The place of a finding."""
        return finding.place or locate(self.node, finding.path, on_key=finding.on_key)

    def problem(self, finding: Finding, span: Span, name: str) -> Problem:
        """A finding at its place in the file of this name."""
        return Problem(
            severity=finding.severity,
            message=finding.message,
            file=name,
            line=span.line + 1,
            column=span.column + 1,
            width=span.width,
            path=self._path_text(finding.path),
            hint=finding.hint,
            hides_value=finding.hides_value,
            unknown=finding.unknown,
        )

    def ignored(self, sources: Texts[SourceText]) -> Iterator[Ignored]:
        """The parts of the document without effect in nodespan, in the order of the text."""
        found = [(span, path, "") for path, span in self.foreign]
        for path, consequence in without_effect(self.entry.value):
            found.append((locate(self.node, path, on_key=True), path, consequence))
        for span, path, consequence in sorted(found, key=lambda part: (part[0].source, part[0].line, part[0].column)):
            name = sources[span.source].name
            is_unknown = not path and not is_known_elsewhere(self.entry.kind)
            yield Ignored(
                path=self._path_text(path),
                line=span.line + 1,
                file=name,
                consequence=consequence,
                is_unknown=is_unknown,
            )

    def _path_text(self, path: Path) -> str:
        """The path within the stream: that of a document with a kind starts with the kind and the name."""
        head = f"{self.entry.kind}[{self.entry.name}]" if self.entry.name else self.entry.kind
        return path_text((head, *path) if head else path)


def _given(node: Table, *, is_main: bool) -> frozenset[str]:
    """The keys with a value; of the main document by their whole path."""
    found: set[str] = set()

    def walk(table: Table, prefix: str, depth: int) -> None:
        for key, (_, value) in table.values.items():
            path = f"{prefix}{key}"
            is_null = isinstance(value, Scalar) and value.is_null
            size = len(value.values if isinstance(value, Table) else value.items if isinstance(value, Sequence) else ())
            text = value.text if isinstance(value, Scalar) else None
            if is_set(path, is_null=is_null, text=text, size=size):
                found.add(path)
            if isinstance(value, Table) and depth:
                walk(value, f"{path}.", depth - 1)

    walk(node, "", _GIVEN_DEPTH if is_main else 0)
    return frozenset(found)


def _text(node: Table, key: str) -> str:
    """The text at a key of the document, "" if there is none."""
    _, value = node.values.get(key, (None, None))
    return value.text if isinstance(value, Scalar) and not value.is_null else ""


def _class_of(node: Table, kind: str) -> type | None:
    if kind:
        return _CLASSES.get(kind)
    return MainDocument if any(key in node.values for key in _MAIN_KEYS) else None


def _check_head(node: Table, api_version: str, kind: str, expected_class: type | None) -> Iterator[Finding]:
    """Findings about apiVersion and kind, which identify a document."""
    if expected_class is MainDocument:
        return
    if not kind:
        meant = next(filter(None, (closest(key, _MAIN_KEYS) for key in node.values)), "")
        hint = f'did you mean "{meant}:"?' if meant else "the main document has machine: or cluster:, every other kind:"
        yield at(message="this document has neither kind nor a key of the main document", hint=hint)
        return
    if expected_class is None:
        meant = "" if is_kind_of_others(kind) else _closest_kind(kind)
        if meant:
            yield at("kind", message=f"unknown kind {quote(kind)}", hint=f'did you mean "{meant}"?')
        return
    expected = attrs.fields_dict(expected_class)["api_version"].default
    if api_version != expected:
        given = f"not {quote(api_version)}" if api_version else "which is missing"
        yield at("apiVersion", message=f"apiVersion of {kind} must be {expected}, {given}")


def _with_separator(finding: Finding, expected_class: type) -> Finding:
    """A key of the main document in another one means that a separator is missing."""
    if expected_class is MainDocument or len(finding.path) != 1 or finding.path[0] not in _MAIN_KEYS:
        return finding
    return attrs.evolve(finding, hint="that is the main document: put a line --- between the two")


def _closest_kind(kind: str) -> str:
    """The kind that was probably meant, "" if none is near. All kinds end alike, so the match must be close."""
    return closest(kind, tuple(_CLASSES), cutoff=0.88)


def _without_ignored_devices(value: object, findings: tuple[Finding, ...]) -> Iterator[Finding]:
    """An ignored device is not checked, only read."""
    interfaces = ("machine", "network", "interfaces")
    devices = value.machine.network.interfaces if isinstance(value, MainDocument) and value.machine else ()
    for finding in findings:
        is_in_device = finding.path[:3] == interfaces and len(finding.path) > 4
        if not (finding.choice and is_in_device and devices[int(finding.path[3])].ignore):
            yield finding
