"""What installed packages offer to this program: their entry points, and the version of one.

importlib.metadata tells the same, but loads readers of mail, archives and tables for it: 1 MB, and a twentieth of the
time of a start. Here the few files are read that matter, in the order in which it would read them. Where packages
may be elsewhere than in directories of `sys.path` (an archive, an egg, a finder of another program), it is asked.
"""

import importlib
import os
import re
import sys
from collections.abc import Iterator
from importlib.machinery import PathFinder
from typing import Any

# All groups of entry points that this project knows begin like that.
PREFIX = "nodespan."
_SUFFIXES = (".dist-info", ".egg-info")
_VALUE = re.compile(r"(?P<module>[\w.]+)\s*(:\s*(?P<attribute>[\w.]+)\s*)?(\[.*\]\s*)?$")
_SEPARATORS = re.compile("[-_.]+")
_VERSION = re.compile(r"^Version:[ \t]*(\S+)[ \t]*$", re.MULTILINE | re.IGNORECASE)


class EntryPoint:
    """A name in a group, and the object that it refers to: `module` or `module:attribute`."""

    __slots__ = ("group", "name", "value")

    def __init__(self, name: str, value: str, group: str) -> None:
        self.name = name
        self.value = value
        self.group = group

    def load(self) -> Any:
        """The object. Raises ImportError, AttributeError, and what its module does when it is imported."""
        found = _VALUE.match(self.value)
        if found is None:
            raise ImportError(f"{self.value!r} is no module, nor module:attribute")
        value: Any = importlib.import_module(found["module"])
        for attribute in filter(None, (found["attribute"] or "").split(".")):
            value = getattr(value, attribute)
        return value


def entry_points(group: str) -> list[EntryPoint]:
    """The entry points of a group whose name begins with `PREFIX`, of all installed packages; none is imported.

    Raises OSError and UnicodeDecodeError for a file that is there and cannot be read, as importlib.metadata does.
    """
    packages = _packages()
    if packages is None:
        import importlib.metadata

        return [EntryPoint(each.name, each.value, each.group) for each in importlib.metadata.entry_points(group=group)]
    texts = (_read(path, "entry_points.txt") for path in packages.values())
    return [point for text in texts for point in _parsed(text) if point.group == group]


def version(name: str) -> str:
    """The version of the installed distribution. Raises PackageNotFoundError of importlib.metadata."""
    path = (_packages() or {}).get(_compared(name))
    if path is not None:
        header = (_read(path, "METADATA") or _read(path, "PKG-INFO")).partition("\n\n")[0]
        if found := _VERSION.search(header):
            return found[1]
    import importlib.metadata

    return importlib.metadata.version(name)


def _packages() -> dict[str, str] | None:
    """The directories of the packages by name, of several of one name the first on the path.

    None if there may be packages elsewhere. Nothing is remembered: times of directories are too coarse to tell by them
    that nothing was installed since, and what this takes is a millisecond.
    """
    if any(hasattr(finder, "find_distributions") for finder in sys.meta_path if finder is not PathFinder):
        return None
    found: dict[str, str] = {}
    for directory in map(os.fsdecode, sys.path):
        if directory.endswith(".egg"):
            return None
        try:
            names = os.listdir(directory or ".")
        except NotADirectoryError:
            return None
        except OSError:
            continue  # as one that is not there, for importlib.metadata, too
        for name in names:
            stem, suffix = os.path.splitext(name)
            if suffix.lower() in _SUFFIXES:
                found.setdefault(_compared(stem.partition("-")[0]), os.path.join(directory, name))
    return found


def _compared(name: str) -> str:
    return _SEPARATORS.sub("_", name).lower()


def _read(directory: str, name: str) -> str:
    try:
        with open(os.path.join(directory, name), encoding="utf-8") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError):
        return ""


def _parsed(text: str) -> Iterator[EntryPoint]:
    """The entry points of a file, of the groups of this project."""
    group = ""
    for line in map(str.strip, text.splitlines() if PREFIX in text else ()):
        if line.startswith("[") and line.endswith("]"):
            group = line.strip("[]")
        elif line and not line.startswith("#") and group.startswith(PREFIX):
            name, separator, value = line.partition("=")
            if separator:
                yield EntryPoint(name.strip(), value.strip(), group)


__all__ = [
    "EntryPoint",
    "entry_points",
    "version",
]
