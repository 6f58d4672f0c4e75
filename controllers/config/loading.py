"""From the texts of a machine configuration to its typed value, with every problem and its place."""

from collections.abc import Sequence
from pathlib import Path as FilePath
from typing import TypeVar

import attrs

from nodespan.controllers.config.document_part import DocumentPart
from nodespan.controllers.config.finding import Finding, Severity, Span
from nodespan.controllers.config.loaded import Loaded
from nodespan.controllers.config.merging import merge_files
from nodespan.controllers.config.problem import Problem
from nodespan.controllers.config.reading import decode, read_sources
from nodespan.controllers.config.sources import LARGEST_TEXT, SourceText, bundle, unbundle
from nodespan.controllers.config.tree import (
    ConfigSyntaxError,
    Node,
    Scalar,
    read_documents,
)
from nodespan.controllers.config.validation import validate
from nodespan.resources.config import Document, MachineConfigSpec, MainDocument, NodespanConfig

T = TypeVar("T")
# More are of no use, and showing each costs a look at the text.
_MOST_PROBLEMS = 100


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
    parts = [DocumentPart.of(document) for document in merge_files(files) if not _is_null(document.node)]
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


def _findings(parts: Sequence["DocumentPart"], *, are_all: bool) -> list[tuple[Span, int, Finding]]:
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


def read_and_load(*paths: FilePath | None, streams: bool = False) -> Loaded:
    """Read files as `read_sources` does, merge and check them.

    Never raises. Blocks on the disk, and for the largest files for seconds on the processor.
    """
    return load_sources(*read_sources(*paths, streams=streams))


def load_bytes(raw: bytes, *, name: str = "<config>") -> Loaded:
    """`load` for the content of a file; text that is not UTF-8 is a problem."""
    return load_files([(name, raw)])


def load_files(files: Sequence[tuple[str, bytes]]) -> Loaded:
    """`load_bytes` for several files, by name and content; they are merged."""
    sources: list[SourceText] = []
    problems: list[Problem] = []
    for name, raw in files:
        decode(raw, name, sources, problems)
    return load_sources(sources, problems)


def _too_large(length: int) -> Problem:
    return Problem(
        severity=Severity.ERROR,
        message=f"the files have {length:,} characters together, more than the {LARGEST_TEXT:,} that are read",
        file="<config>",
        hint="check that these are the right files",
    )


def _is_null(node: Node) -> bool:
    return isinstance(node, Scalar) and node.is_null


def _first(values: list[object], cls: type[T]) -> T | None:
    return next((value for value in values if isinstance(value, cls)), None)


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
