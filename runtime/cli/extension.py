"""Verbs that installed packages add to the command line, by the entry-point group `nodespan.commands`.

The name of an entry point is the verb; what it refers to has a description, adds its options, and does the work. It is
looked for only when the verb is none of the built-in ones, or when help is asked for.
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
        """Add the options of the verb, and its own verbs if it has some."""
        ...

    def run(self, options: argparse.Namespace) -> int:
        """Do what the options say; returns the exit status. Raises CommandError."""
        ...


def names() -> list[str]:
    """The verbs there are, sorted; nothing is imported."""
    return sorted({entry_point.name for entry_point in importlib.metadata.entry_points(group=GROUP)})


def load(verb: str) -> Command | None:
    """The verb of this name, None if no package has it."""
    for entry_point in importlib.metadata.entry_points(group=GROUP, name=verb):
        command: Command = entry_point.load()
        return command
    return None


__all__ = [
    "GROUP",
    "Command",
]
