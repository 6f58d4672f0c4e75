"""Verbs that installed packages add to the command line, by the entry-point group `nodespan.commands`.

The name of an entry point is the verb; it refers to a `Command`. Entry points are read only for help and for verbs
that are not built in.
"""

import argparse
import importlib.metadata
from typing import Protocol

GROUP = "nodespan.commands"


class Command(Protocol):
    """A verb."""

    @property
    def description(self) -> str:
        """One line for the list of commands."""
        ...

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the options of the verb, and its subcommands if it has any."""
        ...

    def run(self, options: argparse.Namespace) -> int:
        """Run the verb; returns the exit status. Raises CommandError."""
        ...


def names() -> list[str]:
    """The installed verbs, sorted; nothing is imported."""
    return sorted({entry_point.name for entry_point in importlib.metadata.entry_points(group=GROUP)})


def load(verb: str) -> Command | None:
    """The verb of this name, None if no package adds it."""
    for entry_point in importlib.metadata.entry_points(group=GROUP, name=verb):
        command: Command = entry_point.load()
        return command
    return None


__all__ = [
    "GROUP",
    "Command",
]
