"""The output of `nodespan validate` for files, which together are one configuration."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from nodespan.controllers.config.loaded import Loaded
from nodespan.controllers.config.loading import read_and_load


def check_files(paths: Sequence[Path | None], *, verbose: bool = False, strict: bool = False) -> tuple[str, bool]:
    """The text to show, and whether the files may be used together; None stands for standard input.

    `strict`: what nothing here knows is a mistake. Blocks on reading.
    """
    loaded = read_and_load(*paths, streams=True)
    if strict:
        loaded = loaded.strictly()
    name = " + ".join("<stdin>" if path is None else str(path) for path in paths)
    return "".join(report(loaded, name, verbose=verbose)), not loaded.errors


def report(loaded: Loaded, name: str, *, verbose: bool = False) -> Iterator[str]:
    """The report on a configuration named `name`.

    Ignored parts without a consequence belong to other systems: unless `verbose`, they are only counted.
    """
    for problem in loaded.problems:
        yield loaded.render(problem) + "\n\n"
    counted = 0
    for ignored in loaded.ignored:
        if verbose or ignored.consequence:
            yield f"{ignored}\n"
        else:
            counted += 1
    if counted:
        verb = "is" if counted == 1 else "are"
        yield f"{_count(counted, 'part')} of other systems {verb} not managed by nodespan, ignored (-v lists them)\n"
    errors, warnings = len(loaded.errors), len(loaded.problems) - len(loaded.errors)
    verdict = "is not valid" if errors else "is valid"
    yield f"{name} {verdict}: {_count(errors, 'error')}, {_count(warnings, 'warning')}\n"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
