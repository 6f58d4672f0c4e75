"""The text of a machine configuration to its typed value, with everything that is wrong with it and where."""

import typing
from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Any, TypeVar

import attrs

from controllers.config import foreign
from controllers.config.finding import Finding, Path, Severity, Span, at, path_text
from controllers.config.masking import quote
from controllers.config.problem import Ignored, Problem
from controllers.config.structure import Structured, closest, structure
from controllers.config.tree import ConfigSyntaxError, DocumentNode, Node, Scalar, Table, locate, read_documents
from controllers.config.validation import Entry, validate
from resources.config import Document, MachineConfigSpec, MainDocument, NodespanConfig

T = TypeVar("T")

_MAIN_KEYS = ("machine", "cluster", "debug", "persist")
_CLASSES: dict[str, type] = {
    str(attrs.fields_dict(cls)["kind"].default): cls for cls in (*typing.get_args(Document), NodespanConfig)
}
# More help nobody, and each costs a look at the text when it is shown.
_MOST_PROBLEMS = 100
# A kind that is found under two spellings.
_SPELLINGS = {"KubespanEndpointsConfig": "KubeSpanEndpointsConfig"}


@attrs.frozen(kw_only=True)
class Loaded:
    """`config` may be used only if there are no `errors`; `ignored` is what belongs to other systems."""

    config: MachineConfigSpec
    problems: tuple[Problem, ...] = ()
    ignored: tuple[Ignored, ...] = ()

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems that make the configuration unusable."""
        return tuple(problem for problem in self.problems if problem.severity is Severity.ERROR)


def load(text: str, *, name: str = "<config>") -> Loaded:
    """Read and check a configuration; never raises, whatever the text is. `name` is what problems call the file.

    A text without documents is a configuration in which everything is left at its default.
    """
    config = MachineConfigSpec(text=text)
    try:
        documents = read_documents(text)
    except ConfigSyntaxError as error:
        return Loaded(config=config, problems=(_syntax_problem(error, name),))
    parts = [_Part.of(document) for document in documents if not _is_null(document.node)]
    broken = [{finding.path for finding in part.findings} for part in parts]
    findings = [(index, finding) for index, part in enumerate(parts) for finding in part.findings]
    for index, finding in validate([part.entry for part in parts]):
        # What could not be understood has been reported; that its default breaks a rule is no news.
        if not any(finding.path[:depth] in broken[index] for depth in range(1, len(finding.path) + 1)):
            findings.append((index, finding))
    problems = [parts[index].problem(finding, name) for index, finding in findings]
    problems.sort(key=lambda problem: (problem.line, problem.column))
    if len(problems) > _MOST_PROBLEMS:
        # Errors first, so that a flood of warnings does not hide that the configuration is unusable.
        problems.sort(key=lambda problem: problem.severity is not Severity.ERROR)
        left_out = Problem(
            severity=problems[_MOST_PROBLEMS].severity,
            message=f"{len(problems) - _MOST_PROBLEMS:,} more problems are not listed",
            file=name,
        )
        problems = [*problems[:_MOST_PROBLEMS], left_out]
    values = [part.entry.value for part in parts]
    return Loaded(
        config=MachineConfigSpec(
            main=_first(values, MainDocument) or MainDocument(),
            documents=tuple(value for value in values if isinstance(value, Document)),
            nodespan=_first(values, NodespanConfig) or NodespanConfig(),
            text=text,
        ),
        problems=tuple(problems),
        ignored=tuple(ignored for part in parts for ignored in part.ignored()),
    )


def read_and_load(path: FilePath) -> Loaded:
    """Read a file and check it; never raises, a file that cannot be read is a problem.

    Blocks on the disk, and for the largest files for seconds on the processor.
    """
    name = str(path)
    try:
        raw = path.read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        problem = Problem(
            severity=Severity.ERROR,
            message=f"cannot read the configuration: {reason}",
            file=name,
            hint="check the path and the permissions of the file",
        )
        return Loaded(config=MachineConfigSpec(), problems=(problem,))
    return load_bytes(raw, name=name)


def load_bytes(raw: bytes, *, name: str = "<config>") -> Loaded:
    """`load` for what a file holds; text that is not UTF-8 is a problem."""
    try:
        return load(raw.decode(), name=name)
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode(errors="replace").removeprefix("\ufeff")
        problem = Problem(
            severity=Severity.ERROR,
            message=f"the byte 0x{raw[error.start]:02x} here is not UTF-8",
            file=name,
            line=before.count("\n") + 1,
            column=len(before) - before.rfind("\n"),
            hint="save the file as UTF-8; check that this is the right file",
        )
        return Loaded(config=MachineConfigSpec(), problems=(problem,))


@attrs.frozen(kw_only=True)
class _Part:
    """One document: its nodes, its value, and what was found while it was structured."""

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
        kind = _SPELLINGS.get(kind, kind)
        wanted = _class_of(node, kind)
        findings = (*document.findings, *_check_head(node, api_version, kind, wanted))
        if wanted is None:
            entry = Entry(api_version=api_version, kind=kind, name=name)
            span = locate(node, ("kind",))
            return cls(node=node, entry=entry, findings=findings, foreign=(((), span),) if not findings else ())
        structured: Structured[Any] = structure(wanted, node)
        entry = Entry(api_version=api_version, kind=kind, name=name, value=structured.value)
        findings = (*findings, *_without_ignored_devices(structured.value, structured.findings))
        return cls(node=node, entry=entry, findings=findings, foreign=structured.foreign)

    def problem(self, finding: Finding, name: str) -> Problem:
        span = finding.place or locate(self.node, finding.path, on_key=finding.on_key)
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

    def ignored(self) -> Iterator[Ignored]:
        for path, span in self.foreign:
            yield Ignored(path=self._path_text(path), line=span.line + 1)

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


def _check_head(node: Table, api_version: str, kind: str, wanted: type | None) -> Iterator[Finding]:
    """apiVersion and kind, which say what a document is."""
    if wanted is MainDocument:
        return
    if not kind:
        meant = next(filter(None, (closest(key, _MAIN_KEYS) for key in node.values)), "")
        hint = f'did you mean "{meant}:"?' if meant else "the main document has machine: or cluster:, every other kind:"
        yield at(message="this document has neither kind nor a key of the main document", hint=hint)
        return
    if wanted is None:
        meant = "" if kind in foreign.KINDS else _closest_kind(kind)
        if meant:
            yield at("kind", message=f"unknown kind {quote(kind)}", hint=f'did you mean "{meant}"?')
        return
    expected = attrs.fields_dict(wanted)["api_version"].default
    if api_version != expected:
        given = f"not {quote(api_version)}" if api_version else "which is missing"
        yield at("apiVersion", message=f"apiVersion of {kind} must be {expected}, {given}")


def _closest_kind(kind: str) -> str:
    """The kind that was probably meant, "" if none is near. All kinds end alike, so they must be rather near."""
    return closest(kind, tuple(_CLASSES), cutoff=0.88)


def _without_ignored_devices(value: object, findings: tuple[Finding, ...]) -> Iterator[Finding]:
    """What an ignored device says of itself is not checked, as long as it can be understood."""
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
