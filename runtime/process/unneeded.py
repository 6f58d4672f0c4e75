"""Leaves a library of Python unloaded that another one imports for what this program never does.

structlog imports asyncio, 32 modules, for logging in its event loop; here is trio's. So the program puts a stand-in in
its place before anything imports it. Whatever does use it gets the library itself, loaded at that moment, so nothing
depends on our knowing who might. Modules that have imported the stand-in have the library then, as if nothing had been
left unloaded: no later use takes the way through the stand-in.

Importing a module below it needs the path of the library, which loads the library, and with it most modules below. By
then the import system has decided to load the one that it was asked for, and would do so again: there would be two of
it. Hence a finder that hands out those that are there.
"""

import contextlib
import importlib
import sys
import threading
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from importlib.abc import Loader

# Of a package that is imported from. Others of such names are asked of any module by those that look through all.
_OF_IMPORTS = ("__all__", "__path__")


# Of those who use it first at once, one removes the stand-in.
_removing = threading.Lock()


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
    with _removing:
        is_first = sys.modules.get(name) is stand_in
        if is_first:
            del sys.modules[name]
    library = importlib.import_module(name)
    if is_first:
        _replace(stand_in, library)
    return library


def _replace(stand_in: ModuleType, library: ModuleType) -> None:
    """In all modules that have imported the stand-in, by whatever name. Takes about a millisecond."""
    for module in list(sys.modules.values()):
        names = getattr(module, "__dict__", {})
        for name, value in list(names.items()):
            if value is stand_in:
                names[name] = library


class _LoadedBelow:
    """Finds a module below a library that loading the library has loaded; is its loader, too.

    One for all libraries: every import of a module asks each finder.
    """

    def __init__(self) -> None:
        self._libraries: set[str] = set()
        # What modules that are handed out had as theirs.
        self._specs: dict[str, ModuleSpec | None] = {}

    def add(self, name: str) -> None:
        """Find those below this library, too."""
        self._libraries.add(name)
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,  # noqa: ARG002
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """What hands out the module, if it is there; it is loaded again for who wants just that."""
        if target is not None or fullname not in sys.modules or not self._is_below(fullname):
            return None
        return ModuleSpec(fullname, cast("Loader", self))

    def _is_below(self, name: str) -> bool:
        above = name
        while above := above.rpartition(".")[0]:
            if above in self._libraries:
                return True
        return False

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The module."""
        module = sys.modules[spec.name]
        self._specs[spec.name] = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Nothing, but that the import system has changed it."""
        module.__spec__ = self._specs.pop(module.__name__)


_below = _LoadedBelow()


def leave_unloaded(name: str) -> None:
    """From now on importing this module loads nothing, until an attribute of it is used. Nothing if it is loaded."""
    if name not in sys.modules:
        stand_in = sys.modules[name] = _StandIn(name)
        _below.add(name)
        # `import package.module` takes the module from its package, where the import system puts what it has loaded.
        package, _, own_name = name.rpartition(".")
        if package in sys.modules:
            setattr(sys.modules[package], own_name, stand_in)


@contextlib.contextmanager
def not_installed(*names: str) -> Iterator[None]:
    """Within the block importing these modules fails, as if they were not installed; not those that are loaded."""
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type] # None is what the import system has for that
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
