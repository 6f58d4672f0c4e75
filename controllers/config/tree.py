"""From YAML text to a tree of nodes that know their places.

The nodes keep the text as written: whether `0644`, `on` or `1.10` is a number, a switch or a text depends on the key,
which is known only later. Repeated keys are reported, merge keys (`<<`) are resolved, and limits on size, depth and the
growth by aliases keep a hostile text from costing more than its length.
"""

import re
from collections.abc import Mapping
from typing import Any

import attrs
from ruamel.yaml.error import MarkedYAMLError, StreamMark, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    DocumentStartEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceStartEvent,
)
from ruamel.yaml.reader import ReaderError

from nodespan.controllers.common.quoting import quote
from nodespan.controllers.config.finding import Finding, Path, Span
from nodespan.controllers.config.masking import key_text
from nodespan.controllers.config.problem import split_lines
from nodespan.controllers.config.sources import LARGEST_TEXT
from nodespan.runtime.codec.yaml_reader import yaml_reader

_DEEPEST = 64
_MOST_ALIASED = 10_000
# Keys, values, lists, tables and documents. The YAML reader takes 10 to 25 us for each: this many are half a second.
MOST_EVENTS = 30_000
_SURROGATE = re.compile("[\ud800-\udfff]")
_NULLS = {"", "~", "null", "Null", "NULL"}
_KNOWN_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "bool", "null", "map", "seq", "float")}


@attrs.frozen(eq=False)
class Scalar:
    """A single value as written. `plain` distinguishes `12` from `"12"`."""

    span: Span
    text: str
    plain: bool = True
    tag: str = ""
    size: int = 1

    @property
    def is_null(self) -> bool:
        """Whether the value is empty or null."""
        return self.plain and not self.tag and self.text in _NULLS


@attrs.frozen(eq=False)
class Sequence:
    """A list."""

    span: Span
    items: tuple["Node", ...]
    size: int


@attrs.frozen(eq=False)
class Table:
    """Keys and their values, in the order of the text; merged ones last."""

    span: Span
    values: Mapping[str, tuple[Span, "Node"]]
    size: int


Node = Scalar | Sequence | Table


@attrs.frozen(kw_only=True)
class DocumentNode:
    """One document of the stream, and the mistakes found while it was read."""

    node: Node
    findings: tuple[Finding, ...] = ()


class ConfigSyntaxError(Exception):
    """The text is not YAML, or exceeds a limit; `span` is None if no single place is at fault."""

    def __init__(self, message: str, span: Span | None = None, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.span = span
        self.hint = hint


def read_documents(text: str, source: int = 0) -> tuple[DocumentNode, ...]:
    """The documents of the text, whose spans are of this source. Raises ConfigSyntaxError, and nothing else.

    Reads no further than MOST_EVENTS keys and values, which bounds the time to a second of the processor.
    """
    if len(text) > LARGEST_TEXT:
        raise ConfigSyntaxError(
            f"the configuration has {len(text):,} characters, more than the {LARGEST_TEXT:,} that are read",
            hint="check that this is the right file",
        )
    reader = _Reader(source)
    try:
        for event in yaml_reader().parse(text.removeprefix("\ufeff")):
            reader.take(event)
    except ReaderError as error:
        lines = split_lines(text.removeprefix("\ufeff")[: error.position])
        raise ConfigSyntaxError(
            f"the character U+{error.character:04X} is not allowed in a configuration",
            Span(len(lines) - 1, len(lines[-1])),
            "a configuration is plain text; check that this is the right file",
        ) from error
    except MarkedYAMLError as error:
        raise ConfigSyntaxError(f"not valid YAML: {_explain(error)}", _problem_span(error), _advice(error)) from error
    except (YAMLError, ValueError, OverflowError) as error:
        raise ConfigSyntaxError("not valid YAML: a value at or after this place cannot be read", reader.last) from error
    return tuple(reader.documents)


def locate(root: Node, path: Path, *, on_key: bool = False) -> Span:
    """Where the value at the path stands, or its key; for what does not exist, the nearest thing above it."""
    span, node = root.span, root
    for depth, part in enumerate(path, start=1):
        if isinstance(node, Table) and isinstance(part, str) and part in node.values:
            key_span, node = node.values[part]
            whole = depth == len(path) and not on_key and not (isinstance(node, Scalar) and node.is_null)
            span = node.span if whole and not isinstance(node, Table) else key_span
        elif isinstance(node, Sequence) and isinstance(part, int) and part < len(node.items):
            node = node.items[part]
            span = node.span
        else:
            break
    return span


def _explain(error: MarkedYAMLError) -> str:
    """The reader's message without the texts it quotes, which may be secrets."""
    words: list[str] = []
    for word in str(error.problem or "it cannot be read").split("'"):
        is_safe = len(words) % 2 == 0 or len(word) <= 2 or (word.startswith("<") and word.endswith(">"))
        words.append(word if is_safe else "…")
    return "'".join(words)


def _advice(error: MarkedYAMLError) -> str:
    problem = str(error.problem)
    if r"'\t'" in problem:
        return "indent with spaces, not with tabs"
    if "mapping values are not allowed" in problem:
        return "put a text that contains a colon and a space in quotes, or check the indentation"
    if "cannot start any token" in problem:
        return "put a text that starts with this character in quotes"
    if "expected <block end>" in problem:
        return "check the indentation: this line does not line up with the ones it belongs to"
    if error.context:
        begun = f", which begins on line {error.context_mark.line + 1}" if error.context_mark else ""
        return f"this happened {_explain(MarkedYAMLError(problem=error.context))}{begun}"
    return ""


def _problem_span(error: MarkedYAMLError) -> Span | None:
    mark = error.problem_mark or error.context_mark
    return Span(mark.line, mark.column) if mark else None


class _Level:
    """A list or table under construction. `key` is the key whose value comes next."""

    def __init__(self, span: Span, anchor: str | None, *, is_table: bool, is_flow: bool) -> None:
        self.span = span
        self.anchor = anchor
        self.is_table = is_table
        self.is_flow = is_flow
        self.items: list[Node] = []
        self.key: Scalar | None = None
        self.values: dict[str, tuple[Span, Node]] = {}
        self.merged: list[Node] = []
        self.size = 1


class _Reader:
    """Builds the nodes of one stream from the events of the YAML reader, without recursion."""

    def __init__(self, source: int) -> None:
        self.documents: list[DocumentNode] = []
        self.last = Span(0, 0, source=source)
        self._source = source
        self._levels: list[_Level] = []
        self._anchors: dict[str, Node | None] = {}
        self._aliased = 0
        self._events = 0
        self._findings: list[Finding] = []

    def take(self, event: Any) -> None:
        self.last = self._start(event.start_mark)
        self._events += 1
        if self._events > MOST_EVENTS:
            raise ConfigSyntaxError(
                f"the configuration has more than {MOST_EVENTS:,} keys and values, and is read up to here",
                self.last,
                "check that this is the right file",
            )
        match event:
            case DocumentStartEvent():
                self._anchors = {}
                self._findings = []
            case ScalarEvent():
                tag = "" if event.tag is None else str(event.tag)
                if _SURROGATE.search(event.value):
                    raise ConfigSyntaxError(
                        "half of a surrogate pair, as \\ud800 is, is not a character",
                        self.last,
                        "write the character itself, or both halves as one: \\U0001F600",
                    )
                plain = event.style is None and (not tag or tag == "!")
                span = self._scalar_span(event)
                self._place(Scalar(span, event.value, plain, "" if tag == "!" else tag), event.anchor)
            case AliasEvent():
                self._place(self._aliased_node(event), None)
            case MappingStartEvent() | SequenceStartEvent():
                self._open(event)
            case CollectionEndEvent():
                self._close(event)
            case _:
                pass

    def _aliased_node(self, event: NodeEvent) -> Node:
        node = self._anchors.get(event.anchor)
        if node is None:
            known = event.anchor in self._anchors
            raise ConfigSyntaxError(
                "this alias stands inside of what it repeats" if known else "no anchor of this name stands further up",
                self.last,
                "" if known else "put a text that starts with * in quotes",
            )
        self._aliased += node.size
        if self._aliased > _MOST_ALIASED:
            raise ConfigSyntaxError(f"aliases make more than {_MOST_ALIASED:,} values of this text", self.last)
        return node

    def _open(self, event: Any) -> None:
        if len(self._levels) >= _DEEPEST:
            raise ConfigSyntaxError(f"lists and keys are nested more than {_DEEPEST} deep", self.last)
        if event.anchor:
            self._anchors[event.anchor] = None
        is_table = isinstance(event, MappingStartEvent)
        self._levels.append(_Level(self.last, event.anchor, is_table=is_table, is_flow=bool(event.flow_style)))

    def _close(self, event: Any) -> None:
        level = self._levels.pop()
        span, end = level.span, self._start(event.end_mark)
        if level.is_flow and end.line == span.line:
            span = attrs.evolve(span, width=end.column - span.column)
        node: Node
        if level.is_table:
            for table in level.merged:
                self._merge(level, table)
            node = Table(span, level.values, level.size)
        else:
            node = Sequence(span, tuple(level.items), level.size)
        self._place(node, level.anchor)

    def _place(self, node: Node, anchor: str | None) -> None:
        """Put a finished node where it belongs: a list, under its key, or alone as a document."""
        if anchor:
            self._anchors[anchor] = node
        if not self._levels:
            self.documents.append(DocumentNode(node=node, findings=tuple(self._findings)))
            return
        level = self._levels[-1]
        level.size += node.size
        if not level.is_table:
            level.items.append(node)
        elif level.key is None:
            level.key = self._checked_key(node)
        else:
            self._put(level, level.key, node)
            level.key = None

    def _checked_key(self, node: Node) -> Scalar:
        if not isinstance(node, Scalar):
            raise ConfigSyntaxError(
                "a key must be a text, not a list or a table", node.span, "check the brackets and braces"
            )
        return node

    def _put(self, level: _Level, key: Scalar, node: Node) -> None:
        if key.text == "<<" and key.plain:
            level.merged.extend(node.items if isinstance(node, Sequence) else (node,))
            return
        first, _ = level.values.setdefault(key.text, (key.span, node))
        if first is not key.span:
            self._findings.append(
                Finding(
                    path=(*self._path(), key.text),
                    message=f"the key {quote(key_text(key.text))} is given twice",
                    hint=f"it stands on line {first.line + 1} too; keep one of them",
                    place=key.span,
                )
            )

    def _merge(self, level: _Level, table: Node) -> None:
        if not isinstance(table, Table):
            raise ConfigSyntaxError("<< must be followed by a table or a list of tables", table.span)
        for key, value in table.values.items():
            level.values.setdefault(key, value)

    def _path(self) -> Path:
        """Where the innermost level stands in its document."""
        return tuple(
            (level.key.text if level.key else "?") if level.is_table else len(level.items)
            for level in self._levels[:-1]
        )

    def _start(self, mark: StreamMark) -> Span:
        return Span(mark.line, mark.column, source=self._source)

    def _scalar_span(self, event: Any) -> Span:
        start, end = event.start_mark, event.end_mark
        width = max(1, end.column - start.column) if end.line == start.line else 1
        return Span(start.line, start.column, width, self._source)
