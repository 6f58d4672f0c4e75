"""The output of `nodespan validate` for files, which together are one configuration."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from nodespan.controllers.config.loading import Loaded, read_and_load


def check_files(paths: Sequence[Path | None]) -> tuple[str, bool]:
    """The text to show, and whether the files may be used together; None stands for standard input.

    Blocks on reading.
    """
    loaded = read_and_load(*paths)
    name = " + ".join("<stdin>" if path is None else str(path) for path in paths)
    return "".join(report(loaded, name)), not loaded.errors


def report(loaded: Loaded, name: str) -> Iterator[str]:
    """The report on a configuration named `name`."""
    for problem in loaded.problems:
        yield loaded.render(problem) + "\n\n"
    for ignored in loaded.ignored:
        yield f"{ignored}\n"
    errors, warnings = len(loaded.errors), len(loaded.problems) - len(loaded.errors)
    verdict = "is not valid" if errors else "is valid"
    yield f"{name} {verdict}: {_count(errors, 'error')}, {_count(warnings, 'warning')}\n"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
