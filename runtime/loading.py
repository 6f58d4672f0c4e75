"""Imports what only some agents need, when the configuration or a request asks for it.

A family declares its controllers in modules that import no library for them: what an agent may do is visible without
loading what it does it with. The part of a controller that needs a library is imported where it begins to work:

    await load("nodespan.example.client")
    from nodespan.example.client import Client

The first line runs the import in a thread, for on the loop it would hold up everything else by as much as a tenth of a
second. The second is an import as any other, for those who read it and for the checks of types and arrows; it finds
the module loaded. Code that runs in a worker thread anyway needs the second line only.
"""

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

import trio


async def load(*modules: str) -> None:
    """Import modules in a worker thread, unless they are loaded. Not interrupted by cancelling; raises what they do.

    Without anything to import it is not a checkpoint.
    """
    missing = [module for module in modules if module not in sys.modules or _is_incomplete(module)]
    if missing:
        await trio.to_thread.run_sync(_import_all, missing)


def _is_incomplete(module: str) -> bool:
    """Whether another thread is importing it right now."""
    spec = getattr(sys.modules[module], "__spec__", None)
    return bool(getattr(spec, "_initializing", False))


def _import_all(modules: list[str]) -> None:
    for module in modules:
        importlib.import_module(module)


__all__ = ["load"]


def names_in(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """The `__getattr__` of a package whose names are imported, each from its module below it, when first used."""

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"{package}.{homes[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    return find
