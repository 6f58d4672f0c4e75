"""Leaves a library of Python unloaded that another one imports for what this program never does.

structlog imports asyncio, 32 modules, for logging in its event loop; here is trio's. So the program puts a stand-in in
its place before anything imports it. Whatever does use it gets the library itself, loaded at that moment, so nothing
depends on our knowing who might.
"""

import importlib
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

# Of a package that is imported from. Others of such names are asked of any module by those that look through all.
_OF_IMPORTS = ("__all__", "__path__")


class _StandIn(ModuleType):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__spec__ = ModuleSpec(name, None)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name not in _OF_IMPORTS:
            raise AttributeError(f"module {self.__name__!r}, which is not loaded, has no attribute {name!r}")
        return getattr(_loaded(self), name)


def _loaded(stand_in: ModuleType) -> ModuleType:
    name = stand_in.__name__
    if sys.modules.get(name) is stand_in:
        del sys.modules[name]
    return importlib.import_module(name)


def leave_unloaded(name: str) -> None:
    """From now on importing this module loads nothing, until an attribute of it is used. Nothing if it is loaded."""
    if name not in sys.modules:
        sys.modules[name] = _StandIn(name)
