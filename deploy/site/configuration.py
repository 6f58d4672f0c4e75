"""Reference pages of the configuration: every key of every kind of document, made from the classes of documents."""

import inspect
import re
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs

from deploy.site.field_docs import FieldDoc, fields, reachable, without_none
from deploy.site.markdown import block, code, first_sentence, table
from deploy.site.values import default_text, type_text
from nodespan.controllers.config.foreign import OPEN
from nodespan.resources.config import Document, MainDocument, NodespanConfig

_FENCED = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^(#+) (.*)$", re.MULTILINE)
# The page of a document, by the module that its class is in.
_PAGES = {
    "main": "The main document",
    "nodespan": "NodespanConfig",
    "kubespan": "Mesh and discovery",
    "links": "Links",
    "network": "Addresses and routing",
    "host": "The machine",
    "kubernetes": "Kubernetes",
}
_HEAD = ("api_version", "kind")


def documents() -> tuple[type[Any], ...]:
    """The classes of all kinds of documents."""
    return (MainDocument, NodespanConfig, *typing.get_args(Document))


def kind_of(cls: type[Any]) -> str:
    """The kind of a document; the main document has none."""
    field = attrs.fields_dict(cls).get("kind")
    return "the main document" if field is None else str(field.default)


def pages(texts: Mapping[Path, str]) -> dict[str, str]:
    """The pages of all documents, by their path below `reference/`. Examples are those of the given pages."""
    by_page: dict[str, list[type[Any]]] = {}
    for cls in documents():
        by_page.setdefault(cls.__module__.rpartition(".")[2], []).append(cls)
    examples = _examples(texts)
    made = {f"configuration/{name}.md": _page(title_of(name), classes, examples) for name, classes in by_page.items()}
    return {"configuration/index.md": _index(by_page), **made}


def title_of(page: str) -> str:
    """The title of the page of a module."""
    return _PAGES.get(page, page.replace("_", " ").capitalize())


def _index(by_page: Mapping[str, Iterable[type[Any]]]) -> str:
    parts = [
        "# Configuration\n",
        (
            "The configuration is YAML: any number of documents, in one file or in several, which are merged "
            "([apply](../../apply.md)). Every document but the main one says `apiVersion` and `kind`. "
            "`nodespan validate FILE` checks a file, and names each mistake with its line and column.\n"
        ),
        "Keys of Talos Linux that nodespan does not act on are left alone, and `nodespan validate -v` lists them.\n",
    ]
    rows = [
        (
            f"[{kind_of(cls)}]({page}.md#{_anchor(cls)})",
            code("v1alpha1" if cls is not NodespanConfig else "nodespan.dev/v1alpha1"),
            first_sentence(_doc(cls)),
        )
        for page, classes in by_page.items()
        for cls in classes
    ]
    return "\n".join([*parts, table(("kind", "apiVersion", "what"), rows)])


def _page(title: str, classes: list[type[Any]], examples: Mapping[str, tuple[str, str]]) -> str:
    parts = [f"# {title}: configuration\n"]
    for cls in classes:
        kind = kind_of(cls)
        parts += [f"## {kind}\n", f"{_doc(cls)}\n"]
        rows = [row for field in _fields(cls) for row in _rows(field, "")]
        parts.append(table(("key", "type", "default", "meaning"), rows))
        foreign = sorted(key for part in reachable([cls]) for key in OPEN.get(part, ()))
        if foreign:
            parts.append(f"Left to others: {', '.join(map(code, foreign))}.\n")
        if kind in examples:
            text, place = examples[kind]
            parts += [f"From {place}:\n", block(text, "yaml")]
    return "\n".join(parts)


def _rows(field: FieldDoc, prefix: str) -> Iterable[tuple[str, str, str, str]]:
    """A key, and the keys below it with their whole paths."""
    hint, _ = without_none(field.hint)
    path = f"{prefix}{field.name}"
    item = typing.get_args(hint)[0] if typing.get_origin(hint) is tuple else hint
    many = item is not hint
    secret = " Secret." if field.is_secret else ""
    if not attrs.has(item):
        yield code(path), type_text(hint), default_text(field), field.text + secret
        return
    yield code(path), "list of tables" if many else "table", "", field.text + secret
    for below in _fields(item):
        yield from _rows(below, f"{path}[]." if many else f"{path}.")


def _fields(cls: type[Any]) -> list[FieldDoc]:
    """The name first, as it is written."""
    found = [field for field in fields(cls) if field.attribute not in _HEAD]
    return sorted(found, key=lambda field: field.name != "name")


def _doc(cls: type[Any]) -> str:
    return (inspect.getdoc(cls) or "").removeprefix("Open. ")


def _anchor(cls: type[Any]) -> str:
    return kind_of(cls).lower().replace(" ", "-")


def _examples(texts: Mapping[Path, str]) -> dict[str, tuple[str, str]]:
    """The first document of each kind in the pages, and a link to where it stands."""
    found: dict[str, tuple[str, str]] = {}
    for path, text in texts.items():
        for match in _FENCED.finditer(text):
            for document in re.split(r"^---\n", match[1], flags=re.MULTILINE):
                kind = re.search(r"^kind: (\w+)", document, re.MULTILINE)
                main = re.match(r"(?:machine|cluster):", document)
                name = kind[1] if kind else "the main document" if main else ""
                if name and name not in found:
                    headings = _HEADING.findall(text[: match.start()])
                    title = headings[-1][1] if headings else path.stem
                    found[name] = (document, f"[{title}](../../{path})")
    return found
