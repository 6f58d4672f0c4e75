"""YAML documents as plain data that knows its places, for mistakes to be shown with line and column."""

import math
import re
from collections.abc import Iterator
from typing import Any

import attrs
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from nodespan.runtime.codec.yaml_reader import TooManyEventsError, yaml_reader

Path = tuple[str | int, ...]
_TAG = "tag:yaml.org,2002:"
_DEEPEST = 64
# Values of a document, with what its aliases repeat; and keys, values, lists and tables of the whole text.
_MOST_NODES = 30_000
_MOST_EVENTS = 60_000
_INTEGER = re.compile(r"[-+]?(0o[0-7_]+|0x[0-9a-fA-F_]+|[0-9][0-9_]*)")


class DocumentError(Exception):
    """A text that is no YAML, or exceeds a limit; `line` and `column` count from 1, 0 for no place."""

    def __init__(self, message: str, line: int = 0, column: int = 0) -> None:
        super().__init__(message)
        self.line = line
        self.column = column


@attrs.frozen
class Document:
    """One document: its data, and the place (line, column; from 1) of each value, and of each key, by its path."""

    data: Any
    places: dict[Path, tuple[int, int]] = attrs.field(repr=False)
    keys: dict[Path, tuple[int, int]] = attrs.field(repr=False)

    def place(self, path: Path, *, on_key: bool = False) -> tuple[int, int]:
        """Where the value stands, or its key; for what is missing, the nearest thing above it."""
        if on_key and path in self.keys:
            return self.keys[path]
        while path not in self.places and path:
            path = path[:-1]
        return self.places.get(path, (1, 1))


def read_documents(text: str) -> Iterator[Document]:
    """The documents of a text; empty ones are left out. Blocks on the processor. Raises DocumentError."""
    try:
        for root in yaml_reader(_MOST_EVENTS).compose_all(text.removeprefix("\ufeff")):
            if root is None:
                continue
            reader = _Reader()
            data = reader.read(root, ())
            if data is not None:
                yield Document(data, reader.places, reader.keys)
    except TooManyEventsError as error:
        raise DocumentError(
            f"this is too much: a text may have {_MOST_EVENTS:,} keys and values", error.line + 1, error.column + 1
        ) from error
    except ReaderError as error:
        raise DocumentError(f"the character U+{error.character:04X} is not allowed in YAML") from error
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        raise DocumentError(f"not valid YAML: {error.problem or error.context}", *place) from error
    except (YAMLError, ValueError, RecursionError) as error:
        raise DocumentError("not valid YAML: it cannot be read") from error


class _Reader:
    def __init__(self) -> None:
        self.places: dict[Path, tuple[int, int]] = {}
        self.keys: dict[Path, tuple[int, int]] = {}
        self._nodes = 0

    def read(self, node: Node, path: Path) -> Any:
        line, column = node.start_mark.line + 1, node.start_mark.column + 1
        self._nodes += 1
        if self._nodes > _MOST_NODES or len(path) > _DEEPEST:
            raise DocumentError("this is too much, or nested too deep", line, column)
        self.places.setdefault(path, (line, column))
        match node:
            case ScalarNode():
                return _scalar(node, line, column)
            case SequenceNode():
                return [self.read(item, (*path, number)) for number, item in enumerate(node.value)]
            case MappingNode():
                return self._mapping(node, path)
        raise DocumentError("this cannot be read", line, column)

    def _mapping(self, node: MappingNode, path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in node.value:
            line, column = key.start_mark.line + 1, key.start_mark.column + 1
            if not isinstance(key, ScalarNode):
                raise DocumentError("a key must be a text", line, column)
            name = str(key.value)
            if name in found:
                raise DocumentError(f"the key {name!r} is given twice", line, column)
            self.keys[*path, name] = (line, column)
            found[name] = self.read(value, (*path, name))
            # A mistake in a value is shown at the value, but what is missing in a mapping is shown at its key.
            if isinstance(value, MappingNode):
                self.places[*path, name] = (line, column)
        return found


def _scalar(node: ScalarNode, line: int, column: int) -> Any:
    text = str(node.value)
    match str(node.tag).removeprefix(_TAG):
        case "null":
            return None
        case "bool":
            return text.lower() in ("true", "yes", "on")
        case "int" if _INTEGER.fullmatch(text):
            plain = text.replace("_", "")
            return int(plain, 0) if "o" in plain or "x" in plain else int(plain)
        case "float":
            return _float(text, line, column)
        case "binary" | "set" | "omap" | "pairs":
            raise DocumentError(f"a value of type {node.tag} is not allowed here", line, column)
    return text  # times too: their classes read them from text


def _float(text: str, line: int, column: int) -> float:
    plain = text.replace("_", "").lower()
    if plain.endswith(".nan"):
        return math.nan
    if plain.endswith(".inf"):
        return -math.inf if plain.startswith("-") else math.inf
    try:
        return float(plain)
    except ValueError:
        raise DocumentError(f"{text!r} is not a number", line, column) from None
