"""Verbs that installed packages add to the command line, by the entry-point group `nodespan.commands`.

The name of an entry point is the verb; it refers to a `Command`. Entry points are read only for help and for verbs
that are not built in.
"""

import argparse
from typing import Protocol

from nodespan.runtime import installed
from nodespan.runtime.cli.errors import CommandError

GROUP = "nodespan.commands"
REMOTE_GROUP = "nodespan.remote"


class Command(Protocol):
    """A verb. One that runs until it is stopped has an attribute `is_lasting` that is true: it is kept small."""

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
    return sorted({entry_point.name for entry_point in installed.entry_points(GROUP)})


def load(verb: str) -> Command | None:
    """The verb of this name, None if no package adds it."""
    for entry_point in installed.entry_points(GROUP):
        if entry_point.name != verb:
            continue
        command: Command = entry_point.load()
        if getattr(command, "is_lasting", False):
            from nodespan.runtime.process import lean

            # Before it imports what it needs.
            lean.prepare()
        return command
    return None


class Remote(Protocol):
    """Asks agents of other machines: what `--nodes` and `--context` of built-in verbs mean."""

    def get(self, options: argparse.Namespace) -> int:
        """`nodespan get`; returns the exit status. Raises CommandError."""
        ...

    def overview(self, options: argparse.Namespace) -> int:
        """`nodespan why`, `version`, and those of `runtime.cli.overview`; the exit status. Raises CommandError."""
        ...


def load_remote() -> Remote:
    """What the installed packages ask other machines with. Raises CommandError if there is nothing."""
    for entry_point in installed.entry_points(REMOTE_GROUP):
        remote: Remote = entry_point.load()
        return remote
    raise CommandError("no installed package asks other machines: --nodes and --context mean nothing here")


__all__ = [
    "GROUP",
    "REMOTE_GROUP",
    "Command",
    "Remote",
]
