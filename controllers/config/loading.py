"""From the texts of a machine configuration to its typed value, with every problem and its place."""

import sys
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any, TypeVar

import attrs

from nodespan.controllers.config import foreign
from nodespan.controllers.config.finding import Finding, Path, Severity, Span, at, path_text
from nodespan.controllers.config.masking import quote
from nodespan.controllers.config.merging import KIND_SPELLINGS, merge_files
from nodespan.controllers.config.problem import Ignored, Problem, render
from nodespan.controllers.config.rules.between import Entry
from nodespan.controllers.config.sources import SourceText, bundle, expand, unbundle
from nodespan.controllers.config.structure import Structured, closest, structure
from nodespan.controllers.config.tree import (
    LARGEST_TEXT,
    ConfigSyntaxError,
    DocumentNode,
    Node,
    Scalar,
    Table,
    locate,
    read_documents,
)
from nodespan.controllers.config.validation import validate
from nodespan.controllers.config.without_effect import without_effect
from nodespan.resources.config import Document, MachineConfigSpec, MainDocument, NodespanConfig
from nodespan.runtime.resource import FrozenMapping

T = TypeVar("T")

_MAIN_KEYS = ("machine", "cluster", "debug", "persist")
_CLASSES: dict[str, type] = {
    str(attrs.fields_dict(cls)["kind"].default): cls for cls in (*typing.get_args(Document), NodespanConfig)
}
_OTHERS = tuple(_CLASSES.values())
_STDIN = "<stdin>"
_ON_NOTHING = "check that this is the right file; if it is to say nothing, put a comment into it"
# More are of no use, and showing each costs a look at the text.
_MOST_PROBLEMS = 100


@attrs.frozen(kw_only=True)
class Loaded:
    """`config` may be used only if there are no `errors`; `ignored` are the parts without effect in nodespan.

    `texts` are those of the files by their names, as far as they could be read.
    """

    config: MachineConfigSpec
    problems: tuple[Problem, ...] = ()
    ignored: tuple[Ignored, ...] = ()
    texts: Mapping[str, str] = attrs.field(factory=FrozenMapping, converter=FrozenMapping, repr=False)

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems that make the configuration unusable."""
        return tuple(problem for problem in self.problems if problem.severity is Severity.ERROR)

    def render(self, problem: Problem) -> str:
        """A problem with its line and a caret."""
        return render(problem, self.texts.get(problem.file, ""))


def load(text: str, *, name: str = "<config>") -> Loaded:
    """Read and check a configuration; never raises. `name` is the name of the file in problems.

    A text without documents is a configuration of defaults.
    """
    return load_sources([SourceText(name=name, text=text)])


def load_sources(given: Sequence[SourceText], unreadable: Sequence[Problem] = ()) -> Loaded:
    """`load` for several texts, which are merged; `unreadable` are the problems of files that could not be read.

    Blocks, for the largest texts for seconds on the processor.
    """
    texts = {source.name: source.text for source in given}
    if unreadable:
        config = MachineConfigSpec()
    else:
        config = MachineConfigSpec(text=bundle(given))
        if len(given) > 1 and len(config.text) > LARGEST_TEXT:
            unreadable = [_too_large(len(config.text))]
    problems = list(unreadable)
    files = []
    sources = [part for source in given for part in unbundle(source)]
    for index, source in enumerate(sources):
        try:
            files.append(read_documents(source.text, index))
        except ConfigSyntaxError as error:
            problems.append(_syntax_problem(error, source.name))
    parts = [_Part.of(document) for document in merge_files(files) if not _is_null(document.node)]
    found = _findings(parts, are_all=not problems)
    found.sort(key=lambda located: (located[0].source, located[0].line, located[0].column))
    problems += [parts[index].problem(finding, span, sources[span.source].name) for span, index, finding in found]
    values = [part.entry.value for part in parts]
    return Loaded(
        config=attrs.evolve(
            config,
            main=_first(values, MainDocument) or MainDocument(),
            documents=tuple(value for value in values if isinstance(value, Document)),
            nodespan=_first(values, NodespanConfig) or NodespanConfig(),
        ),
        problems=_limited(problems),
        ignored=tuple(ignored for part in parts for ignored in part.ignored(sources)),
        texts=texts,
    )


def _findings(parts: Sequence["_Part"], *, are_all: bool) -> list[tuple[Span, int, Finding]]:
    """A problem, its place, and the part it is in."""
    broken = [{finding.path for finding in part.findings} for part in parts]
    findings = [(index, finding) for index, part in enumerate(parts) for finding in part.findings]
    for index, finding in validate([part.entry for part in parts], are_all=are_all):
        # The value was invalid, which has been reported; do not report that its default breaks a rule.
        read = {finding.path[:depth] for depth in range(1, len(finding.path) + 1)}
        if finding.beside:
            read.add((*finding.path[:-1], finding.beside))
        if not read & broken[index]:
            findings.append((index, finding))
    return [(parts[index].locate(finding), index, finding) for index, finding in findings]


def _limited(problems: list[Problem]) -> tuple[Problem, ...]:
    if len(problems) <= _MOST_PROBLEMS:
        return tuple(problems)
    # Errors first, so that a flood of warnings does not hide that the configuration is unusable.
    problems = sorted(problems, key=lambda problem: problem.severity is not Severity.ERROR)
    left_out = Problem(
        severity=problems[_MOST_PROBLEMS].severity,
        message=f"{len(problems) - _MOST_PROBLEMS:,} more problems are not listed",
        file=problems[_MOST_PROBLEMS].file,
    )
    return (*problems[:_MOST_PROBLEMS], left_out)


def read_and_load(*paths: FilePath | None) -> Loaded:
    """Read files as `read_sources` does, merge and check them.

    Never raises. Blocks on the disk, and for the largest files for seconds on the processor.
    """
    return load_sources(*read_sources(*paths))


def read_sources(*paths: FilePath | None) -> tuple[list[SourceText], list[Problem]]:
    """The texts of files (of a directory all that end in .yaml; None is standard input), and what cannot be read.

    Never raises. Blocks on the disk.
    """
    files: list[tuple[str, bytes]] = []
    problems: list[Problem] = []
    for path in paths:
        try:
            if path is None:
                files.append((_STDIN, sys.stdin.buffer.read()))
                continue
            found = expand(path)
            if not found:
                problems.append(_unreadable(path, "no file in this directory ends in .yaml", "put one there"))
            files += [(str(file), file.read_bytes()) for file in found]
        except OSError as error:
            message = f"cannot read the configuration: {error.strerror or type(error).__name__}"
            place = FilePath(error.filename or path or _STDIN)
            problems.append(_unreadable(place, message, "check the path and the permissions of the file"))
    sources: list[SourceText] = []
    for name, raw in files:
        _decode(raw, name, sources, problems)
    return sources, problems


def load_bytes(raw: bytes, *, name: str = "<config>") -> Loaded:
    """`load` for the content of a file; text that is not UTF-8 is a problem."""
    return load_files([(name, raw)])


def load_files(files: Sequence[tuple[str, bytes]]) -> Loaded:
    """`load_bytes` for several files, by name and content; they are merged."""
    sources: list[SourceText] = []
    problems: list[Problem] = []
    for name, raw in files:
        _decode(raw, name, sources, problems)
    return load_sources(sources, problems)


def _decode(raw: bytes, name: str, sources: list[SourceText], problems: list[Problem]) -> None:
    """Adds the content of a file to `sources`, or its problem to `problems`."""
    try:
        text = raw.decode()
        if text.strip("\ufeff \t\r\n"):
            sources.append(SourceText(name=name, text=text))
        else:
            # Some programs truncate a file before they write it; that must not remove the whole configuration.
            problems.append(_unreadable(FilePath(name), "there is nothing in this file", _ON_NOTHING))
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode(errors="replace").removeprefix("\ufeff")
        problems.append(
            Problem(
                severity=Severity.ERROR,
                message=f"the byte 0x{raw[error.start]:02x} here is not UTF-8",
                file=name,
                line=before.count("\n") + 1,
                column=len(before) - before.rfind("\n"),
                hint="save the file as UTF-8; check that this is the right file",
            )
        )


def _unreadable(path: FilePath, message: str, hint: str) -> Problem:
    return Problem(severity=Severity.ERROR, message=message, file=str(path), hint=hint)


def _too_large(length: int) -> Problem:
    return Problem(
        severity=Severity.ERROR,
        message=f"the files have {length:,} characters together, more than the {LARGEST_TEXT:,} that are read",
        file="<config>",
        hint="check that these are the right files",
    )


@attrs.frozen(kw_only=True)
class _Part:
    """One document: its nodes, its value, and the findings about it."""

    node: Node
    entry: Entry
    findings: tuple[Finding, ...]
    foreign: tuple[tuple[Path, Span], ...] = ()

    @classmethod
    def of(cls, document: DocumentNode) -> "_Part":
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
        if expected_class is None:
            entry = Entry(api_version=api_version, kind=kind, name=name)
            span = locate(node, ("kind",))
            return cls(node=node, entry=entry, findings=findings, foreign=(((), span),) if not findings else ())
        structured: Structured[Any] = structure(
            expected_class, node, others=_OTHERS if expected_class is MainDocument else ()
        )
        entry = Entry(api_version=api_version, kind=kind, name=name, value=structured.value)
        found = tuple(_with_separator(finding, expected_class) for finding in structured.findings)
        findings = (*findings, *_without_ignored_devices(structured.value, found))
        return cls(node=node, entry=entry, findings=findings, foreign=structured.foreign)

    def locate(self, finding: Finding) -> Span:
        return finding.place or locate(self.node, finding.path, on_key=finding.on_key)

    def problem(self, finding: Finding, span: Span, name: str) -> Problem:
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
        )

    def ignored(self, sources: Sequence[SourceText]) -> Iterator[Ignored]:
        found = [(span, path, "") for path, span in self.foreign]
        for path, consequence in without_effect(self.entry.value):
            found.append((locate(self.node, path, on_key=True), path, consequence))
        for span, path, consequence in sorted(found, key=lambda part: (part[0].source, part[0].line, part[0].column)):
            name = sources[span.source].name
            yield Ignored(path=self._path_text(path), line=span.line + 1, file=name, consequence=consequence)

    def _path_text(self, path: Path) -> str:
        """The path within the stream: that of a document with a kind starts with the kind and the name."""
        head = f"{self.entry.kind}[{self.entry.name}]" if self.entry.name else self.entry.kind
        return path_text((head, *path) if head else path)


def _first(values: list[object], cls: type[T]) -> T | None:
    return next((value for value in values if isinstance(value, cls)), None)


def _is_null(node: Node) -> bool:
    return isinstance(node, Scalar) and node.is_null


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
        meant = "" if kind in foreign.KINDS else _closest_kind(kind)
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


def _syntax_problem(error: ConfigSyntaxError, name: str) -> Problem:
    span = error.span
    return Problem(
        severity=Severity.ERROR,
        message=error.message,
        file=name,
        line=span.line + 1 if span else 0,
        column=span.column + 1 if span else 0,
        width=span.width if span else 1,
        hint=error.hint,
    )
