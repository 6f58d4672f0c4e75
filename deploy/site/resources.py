"""Reference pages of resources: one per group of types, made from the types and from what controllers declare."""

import inspect
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import structlog

from deploy.site.field_docs import fields, reachable
from deploy.site.markdown import block, code, first_sentence, table
from deploy.site.values import default_text, example, label, type_text
from nodespan.runtime.codec.plain import spec_to_plain
from nodespan.runtime.codec.yamltext import dump
from nodespan.runtime.graph import Graph
from nodespan.runtime.plugins import Settings, load_installed
from nodespan.runtime.resource import ResourceType
from tests.resources.type_names import types

# The pages, each with the domains of its types: what stands between the name of a type and its organization.
GROUPS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "network": ("The network", ("net",)),
    "kubespan": ("The mesh", ("kubespan",)),
    "cluster": ("The cluster", ("cluster", "kubernetes", "discovery")),
    "config": ("The configuration", ("config",)),
    "machine": ("Files, certificates, secrets", ("files", "secrets")),
    "runtime": ("The agent", ("runtime", "meta")),
}
_OTHER = "runtime"
# Of the fields of documents these say nothing that the document's name does not.
_HEAD = frozenset({"api_version", "kind"})


@attrs.frozen(kw_only=True)
class Uses:
    """Which controllers write and read a type."""

    writers: tuple[str, ...] = ()
    readers: tuple[str, ...] = ()


def all_types() -> list[ResourceType[Any]]:
    """Every built-in type, by name."""
    return types()


def declared_uses() -> dict[str, Uses]:
    """Who writes and reads what, by the full name of the type."""
    declared = Graph()
    with tempfile.TemporaryDirectory() as scratch:
        for controller in load_installed(Settings(state_dir=Path(scratch)), structlog.get_logger()):
            declared.add(
                controller.name, controller.inputs, controller.outputs, is_queue=hasattr(controller, "reconcile")
            )
    writers: dict[str, set[str]] = {}
    readers: dict[str, set[str]] = {}
    for edge in declared.edges:
        (writers if edge.is_output else readers).setdefault(edge.type, set()).add(edge.controller)
    return {
        name: Uses(writers=tuple(sorted(writers.get(name, ()))), readers=tuple(sorted(readers.get(name, ()))))
        for name in writers.keys() | readers.keys()
    }


def pages() -> dict[str, str]:
    """The pages of all types, by their path below `reference/`."""
    uses = declared_uses()
    by_group: dict[str, list[ResourceType[Any]]] = {group: [] for group in GROUPS}
    for type in all_types():
        by_group[_group_of(type)].append(type)
    made = {f"resources/{group}.md": _page(GROUPS[group][0], types, uses) for group, types in by_group.items() if types}
    return {"resources/index.md": _index(by_group), **made}


def _group_of(type: ResourceType[Any]) -> str:
    domain = type.name.split(".")[1]
    return next((group for group, (_, domains) in GROUPS.items() if domain in domains), _OTHER)


def _index(by_group: Mapping[str, Iterable[ResourceType[Any]]]) -> str:
    parts = [
        "# Resources\n",
        (
            "Every type that nodespan brings. `nodespan get rd` lists those of a running agent, types of your own "
            "included. How to read them: [Looking at resources](../../operators.md#looking-at-resources).\n"
        ),
    ]
    for group, found in by_group.items():
        rows = [
            (
                f"[{type.definition.display_type}]({group}.md#{type.definition.display_type.lower()})",
                ", ".join(map(code, _short_names(type))),
                first_sentence(inspect.getdoc(type.spec_class) or ""),
            )
            for type in found
        ]
        parts += [f"## {GROUPS[group][0]}\n", table(("type", "short names", "what"), rows)]
    return "\n".join(parts)


def _page(title: str, of_page: Sequence[ResourceType[Any]], uses: Mapping[str, Uses]) -> str:
    parts = [f"# {title}: resources\n"]
    for type in of_page:
        parts += _type(type, uses.get(type.name, Uses()))
    roots = {type.spec_class for type in of_page}
    nested = [cls for cls in reachable(cls for cls in roots if not _is_text(cls)) if cls not in roots]
    parts += [part for cls in sorted(nested, key=lambda cls: cls.__name__) for part in class_section(cls)]
    return "\n".join(parts)


def _type(type: ResourceType[Any], uses: Uses) -> list[str]:
    facts = [("full name", code(type.name)), ("namespace", code(type.kind.namespace))]
    facts.append(("short names", ", ".join(map(code, _short_names(type)))))
    if type.is_sensitive:
        facts.append(("readers", "root and the user of the agent: the type is sensitive"))
    if type.is_writable:
        facts.append(("writers", "users"))
    facts += [("written by", ", ".join(map(code, uses.writers)))] if uses.writers else []
    facts += [("read by", ", ".join(map(code, uses.readers)))] if uses.readers else []
    columns = type.definition.print_columns
    facts += (
        [("columns", ", ".join(f"{column.name} ({code(column.json_path)})" for column in columns))] if columns else []
    )
    parts = [f"## {type.definition.display_type}\n", f"{inspect.getdoc(type.spec_class)}\n", table(("", ""), facts)]
    if _is_text(type.spec_class):
        return [*parts, "Outside it is the text that the operator wrote: [Configuration](../configuration/index.md).\n"]
    if attrs.fields(type.spec_class):
        parts.append(field_table(type.spec_class))
    return [*parts, *_example(type)]


def _is_text(cls: type[Any]) -> bool:
    """Whether a spec decides for itself what it looks like outside."""
    return hasattr(cls, "to_plain")


def _example(type: ResourceType[Any]) -> list[str]:
    spec = spec_to_plain(example(type.spec_class))
    head = {"namespace": type.kind.namespace, "type": type.name, "id": "example"}
    note = "An example with a value in every field, also in fields that do not occur together:\n"
    return [note, block(dump({"metadata": head, "spec": spec}), "yaml")]


def class_section(cls: type[Any], level: int = 3) -> list[str]:
    """A part that several types may have: its heading, what it is, and its fields."""
    return [f"{'#' * level} {label(cls)}\n", f"{inspect.getdoc(cls)}\n", field_table(cls)]


def field_table(cls: type[Any]) -> str:
    """The fields of a class."""
    rows = [
        (
            code(field.name),
            type_text(field.hint),
            default_text(field),
            field.text + (" Secret." if field.is_secret else ""),
        )
        for field in fields(cls)
        if not (field.attribute in _HEAD and not field.is_required)
    ]
    return table(("field", "type", "default", "meaning"), rows)


def _short_names(type: ResourceType[Any]) -> list[str]:
    return sorted(type.definition.aliases, key=lambda name: (len(name), name))
