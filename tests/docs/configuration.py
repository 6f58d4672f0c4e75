"""What is done about each part of a machine configuration: `python -m tests.docs.configuration` writes the page.

The parts that there are, by the original, are facts in `original.txt`. What is done about one is found by loading a
configuration that has only this part, and from the classes of the documents. Nothing of the page is written by hand.
"""

import datetime
import enum
import functools
import inspect
import json
import re
import sys
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import attrs

from nodespan.controllers.config import not_applied
from nodespan.controllers.config.fields import fields_of
from nodespan.controllers.config.foreign import OPEN
from nodespan.controllers.config.loading import load
from nodespan.resources.config import Document, MainDocument

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
DOCS = ROOT / "docs"
ORIGINAL = HERE / "original.txt"
PAGE = DOCS / "configuration.md"

_HEAD = """\
# What of a machine configuration is done

An existing machine configuration is taken as it is: what nodespan acts on is checked and applied, what would change the
security or the connectivity of the machine and is not applied is a warning, and what belongs to other systems is left
to them (`nodespan validate -v` lists it).

This page is made from the code, by `make docs`; a test compares them. The kinds and keys are those of the original.
"""
# Pages that list everything, or are about what all kinds have in common.
_NO_EXPLANATION = {"api.md", "apply.md", "architecture.md", "operators.md", PAGE.name}
_NOT_APPLIED = re.compile(r"is not applied: ([^\n]*)")
_HEADS = ("apiVersion", "kind")


def facts(sort: str) -> list[str]:
    """The names of `kind`, `newer` or `key` in the facts, in their order."""
    lines = (line.split() for line in ORIGINAL.read_text().splitlines() if not line.startswith("#"))
    return [name for word, name in lines if word == sort]


def classes() -> Mapping[str, type]:
    """The documents that are read, by their kinds."""
    return {str(attrs.fields_dict(cls)["kind"].default): cls for cls in typing.get_args(Document)}


def known_kinds() -> set[str]:
    """All kinds that the code has an opinion on, by name."""
    return {*classes(), *not_applied.KINDS, *not_applied.OTHERS}


def known_keys() -> set[str]:
    """The main keys that the code knows: those of the main document's open classes, and those that it leaves to others.

    A class that is not open is a key with all that is below it, but for `machine.network` and `machine.time`, of whose
    keys each is something of its own.
    """
    return {".".join(path) for path in _main_keys(MainDocument, ())}


def _main_keys(cls: type, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for key, field in fields_of(cls).items():
        is_section = field.hint in OPEN or (*path, key) in _SECTIONS
        if is_section:
            yield from _main_keys(field.hint, (*path, key))
        else:
            yield (*path, key)
    for key in OPEN.get(cls, ()):
        yield (*path, key)


_SECTIONS = {("machine", "network"), ("machine", "time"), ("cluster", "discovery")}


def page() -> str:
    """The page."""
    rows = {sort: [_kind_row(kind) for kind in facts(sort)] for sort in ("kind", "newer")}
    keys = [f"| `{key}` | {_of_key(key)} |" for key in facts("key")]
    effects = [f"| `{place}` | {consequence} |" for place, consequence in _without_effect()]
    parts = (
        *("## Kinds of documents", "", "| kind | what is done | |", "|---|---|---|", *rows["kind"]),
        *("", "Kinds that are newer than the version that is followed:", ""),
        *("| kind | what is done | |", "|---|---|---|", *rows["newer"]),
        *("", "## The document without kind", "", "| key | what is done |", "|---|---|", *keys),
        *("", "## Read, and without effect", ""),
        *("These are checked, and `validate` says what follows.", "", "| key | consequence |", "|---|---|", *effects),
    )
    return "\n".join([_HEAD, *parts, ""])


def _kind_row(kind: str) -> str:
    return f"| `{kind}` | {_of_kind(kind)} | {_explained(kind)} |"


def _of_kind(kind: str) -> str:
    """What is done about a document of this kind."""
    cls = classes().get(kind)
    loaded = load(json.dumps({"apiVersion": "v1alpha1", "kind": kind, "name": "192.0.2.1"}))
    for problem in loaded.problems:
        if found := _NOT_APPLIED.search(problem.message):
            done = "checked; " if cls is not None else ""
            return f"{done}not applied, with a warning: {found[1]}"
    if cls is not None:
        return f"applied: {_summary(cls)}"
    is_known = any(not ignored.is_unknown for ignored in loaded.ignored)
    assert is_known, f"nothing here knows the kind {kind}: add it to controllers/config/not_applied.py"
    return "left to other systems"


def _of_key(key: str) -> str:
    """What is done about a key of the main document."""
    nested: Any = {}
    for part in reversed(key.split(".")):
        nested = {part: nested}
    loaded = load(json.dumps(nested))
    for problem in loaded.problems:
        if found := _NOT_APPLIED.search(problem.message):
            return f"not applied, with a warning: {found[1]}"
        assert not problem.message.startswith("unknown key"), f"nothing here knows the key {key}"
    if any(ignored.path == key for ignored in loaded.ignored):
        return "left to other systems"
    if key in (effects := _effects_of(MainDocument)):
        return f"no effect: {effects[key]}"
    return "applied" if _is_used(key) else "checked, and of no use here"


@functools.cache
def _users() -> str:
    """The source of all that acts on a configuration, without what reads and checks it."""
    folders = (ROOT / name for name in ("cluster", "controllers"))
    paths = [path for folder in folders for path in sorted(folder.rglob("*.py"))]
    checks = ROOT / "controllers/config"
    return "\n".join(path.read_text() for path in paths if checks not in path.parents)


def _is_used(key: str) -> bool:
    """Whether anything acts on a key of the main document."""
    cls: Any = MainDocument
    for part in key.split("."):
        field = fields_of(cls)[part]
        cls = field.hint
    return re.search(rf"\.{field.attribute}\b", _users()) is not None


def _summary(cls: type) -> str:
    text = " ".join((inspect.getdoc(cls) or "").split("\n\n")[0].split())
    # "DHCPv4 on ..." keeps its capitals.
    return text if text[1:2].isupper() else text[:1].lower() + text[1:]


def _explained(kind: str) -> str:
    """A link to the page that says most of this kind."""
    counts = {
        path.name: len(re.findall(rf"\b{kind}\b", path.read_text()))
        for path in sorted(DOCS.glob("*.md"))
        if path.name not in _NO_EXPLANATION
    }
    name = max(counts, key=lambda each: counts[each])
    return f"[{name.removesuffix('.md')}]({name})" if counts[name] else ""


# What has no effect.


def _without_effect() -> Iterator[tuple[str, str]]:
    """The keys without effect, in the order of the classes, each with the consequence."""
    for cls in (MainDocument, *(found for _, found in sorted(classes().items()))):
        yield from _effects_of(cls).items()


@functools.cache
def _effects_of(cls: type) -> Mapping[str, str]:
    """The keys of documents of one class that have no effect, by trying each, with the consequence."""
    kind = "" if cls is MainDocument else str(attrs.fields_dict(cls)["kind"].default)
    found: dict[str, str] = {}
    for value in _samples(cls):
        document = {"apiVersion": "v1alpha1", "kind": kind, **value} if kind else value
        loaded = load(json.dumps(document))
        for ignored in loaded.ignored:
            place = re.sub(r"^(\w+)(\[[^]]*\])?(?=\.)", r"\1", ignored.path) if kind else ignored.path
            place = re.sub(r"\[\d+\]", "[]", place)
            consequence, _, _ = ignored.consequence.partition(";")
            if ignored.consequence:
                found.setdefault(place, consequence)
    return found


def _samples(cls: Any) -> Iterator[dict[str, Any]]:
    """Values of a class, each with one key set."""
    for key, field in fields_of(cls).items():
        if key not in _HEADS:
            for value in _values(field.hint):
                yield {key: value}


def _values(hint: Any) -> Iterator[Any]:
    origin = typing.get_origin(hint)
    if origin is Annotated:
        yield from _values(typing.get_args(hint)[0])
    elif origin is tuple:
        for value in _values(typing.get_args(hint)[0]):
            yield [value]
    elif origin is typing.Literal:
        return
    elif attrs.has(hint):
        yield from _samples(hint)
    elif inspect.isclass(hint) and issubclass(hint, enum.Enum):
        yield from (member.value for member in hint)
    elif hint is bool:
        yield True
    elif hint is int:
        yield 1
    elif hint is datetime.timedelta:
        yield "5s"
    elif hint is str:
        yield "x"
    else:
        yield {"a": "b"}


if __name__ == "__main__":
    PAGE.write_text(page())
    sys.stdout.write(f"{PAGE}\n")
