"""The names of every built-in type, one line each, as users see them: `python -m tests.resources.type_names`.

Fields are separated by `|`: full name, default namespace, display name, aliases, names that only resolve.
"""

import importlib
import pkgutil
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import nodespan.discovery.service.affiliate
import nodespan.resources
import nodespan.runtime.engine.status
import nodespan.runtime.events
import nodespan.runtime.lifecycle
import nodespan.runtime.resource
from nodespan.runtime.resource import ResourceType

_ELSEWHERE = (
    nodespan.discovery.service.affiliate,
    nodespan.runtime.engine.status,
    nodespan.runtime.events,
    nodespan.runtime.lifecycle,
    nodespan.runtime.resource,
)


def _modules() -> Iterator[ModuleType]:
    yield from _ELSEWHERE
    for found in pkgutil.walk_packages(nodespan.resources.__path__, "nodespan.resources."):
        yield importlib.import_module(found.name)


def types() -> list[ResourceType[Any]]:
    """Every built-in type, by name."""
    found = {value.name: value for module in _modules() for value in vars(module).values() if _is_type(value)}
    return [found[name] for name in sorted(found)]


def lines() -> list[str]:
    """The table, sorted."""
    return sorted(map(_line, types()))


def _is_type(value: object) -> bool:
    return isinstance(value, ResourceType)


def _line(type: ResourceType[object]) -> str:
    spec = type.definition
    resolve_only = [name for name in spec.all_aliases if name not in spec.aliases]
    return "|".join(
        (spec.type, spec.default_namespace, spec.display_type, " ".join(spec.aliases), " ".join(resolve_only))
    )


if __name__ == "__main__":
    sys.stdout.write("\n".join([*lines(), ""]))
