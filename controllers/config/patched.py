"""Patches on the command line: a configuration with them, and errors for its user."""

from pathlib import Path

from nodespan.controllers.config.patching import Patch, PatchError, apply_patches
from nodespan.controllers.config.reading import read_sources
from nodespan.controllers.config.sources import SourceText
from nodespan.runtime.cli.errors import CommandError

_STDIN = "-"


def read_file(file: str) -> list[SourceText]:
    """The configuration in a file ("-": standard input). Raises CommandError."""
    sources, problems = read_sources(None if file == _STDIN else Path(file), streams=True)
    if problems:
        raise CommandError(str(problems[0]))
    return sources


def patched(sources: list[SourceText], patches: list[tuple[str, bytes]]) -> str:
    """The configuration with the patches applied, as text. Raises CommandError."""
    named = [Patch(name=name, text=raw.decode(errors="replace")) for name, raw in patches]
    try:
        return apply_patches(sources, named)
    except PatchError as error:
        raise CommandError(str(error)) from error
