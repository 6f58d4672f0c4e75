"""Checks of `nodespan doctor`: what a node needs, found by the entry-point group `nodespan.checks`.

They run in the command, so they work without an agent, and for a node that cannot even start one.
"""

import enum
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs

from nodespan.runtime import installed
from nodespan.runtime.named_file import read_named

CHECKS_GROUP = "nodespan.checks"
# What stands in place of a check's name where packages could not bring theirs.
BROKEN_PACKAGES = "packages"
# How long, in seconds, a program that a check runs may take.
_PATIENCE = 10.0
# In bytes, of a file of the system.
_LARGEST = 4 * 2**20


class Outcome(enum.StrEnum):
    """What a check has found. `skipped`: it cannot be known here, or does not matter here."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@attrs.frozen
class Verdict:
    """One thing that was found, and what to do about it."""

    outcome: Outcome
    text: str
    remedy: str = ""


def ok(text: str) -> Verdict:
    """It is as it has to be."""
    return Verdict(Outcome.OK, text)


def warning(text: str, remedy: str) -> Verdict:
    """It may not work as intended."""
    return Verdict(Outcome.WARNING, text, remedy)


def failed(text: str, remedy: str) -> Verdict:
    """It does not work."""
    return Verdict(Outcome.FAILED, text, remedy)


def skipped(text: str, remedy: str = "") -> Verdict:
    """It was not looked at, for this reason."""
    return Verdict(Outcome.SKIPPED, text, remedy)


def run_program(arguments: Sequence[str]) -> str | None:
    """The output of a program, None if it is not installed, fails or takes too long."""
    try:
        done = subprocess.run(
            arguments,
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def _no_resources(_type: str) -> list[dict[str, Any]]:
    return []


@attrs.frozen(kw_only=True)
class Surroundings:
    """What a check looks at.

    `agent` is what the agent answers about itself (`version`, `pid`, `node`), None if none runs; `agent_error` says why
    it cannot be asked then. `resources` are those of a type, as plain data, none without an agent. `config` are the
    configuration files that the user named. `root` is where the files of the system are: checks read `/proc`, `/sys`
    and `/etc` below it. `find_program` and `run_program` look for and run programs.
    """

    state_dir: Path
    config: tuple[Path, ...] = ()
    agent: dict[str, Any] | None = None
    agent_error: str = ""
    resources: Callable[[str], list[dict[str, Any]]] = _no_resources
    version: str = ""
    root: Path = Path("/")
    find_program: Callable[[str], str | None] = shutil.which
    run_program: Callable[[Sequence[str]], str | None] = run_program

    def read(self, path: str) -> str | None:
        """The text of a file of the system, without blanks around it; None if it cannot be read."""
        try:
            return read_named(self.root / path, _LARGEST).decode(errors="replace").strip()
        except OSError:
            return None

    def link(self, path: str) -> str | None:
        """Where a symbolic link of the system leads, None if it cannot be read."""
        try:
            return os.readlink(self.root / path)
        except OSError:
            return None

    def specs(self, type: str) -> list[dict[str, Any]]:
        """The specs of the resources of a type."""
        return [resource["spec"] for resource in self.resources(type)]


@attrs.frozen(kw_only=True)
class Check:
    """A check. `run` may block for some seconds, and yields at least one verdict. They run by `order`, then by name."""

    name: str
    order: int = 1000
    run: Callable[[Surroundings], Iterable[Verdict]]


def load_checks() -> tuple[list[Check], list[str]]:
    """The checks of all installed packages in order, and an error for each entry point that cannot be loaded."""
    found: list[Check] = []
    errors: list[str] = []
    for entry_point in sorted(installed.entry_points(CHECKS_GROUP), key=lambda point: point.name):
        where = f"entry point {entry_point.name!r} = {entry_point.value!r}"
        try:
            loaded = entry_point.load()
            checks: Iterable[object] = (loaded,) if isinstance(loaded, Check) else loaded
            for check in checks:
                if not isinstance(check, Check):
                    raise TypeError(f"{check!r} is no Check")
                found.append(check)
        except Exception as error:
            errors.append(f"{where}: {type(error).__name__}: {error}")
    return sorted(found, key=lambda check: (check.order, check.name)), errors


class UnknownCheckError(LookupError):
    """No check has this name; the text says which there are."""


def find_checks(names: Iterable[str]) -> tuple[list[Check], list[tuple[str, Verdict]]]:
    """The checks of these names, all if there are none, and a verdict on each package whose checks cannot be loaded.

    Raises UnknownCheckError.
    """
    wanted = list(names)
    checks, errors = load_checks()
    remedy = "install the package again, or remove it"
    broken = [(BROKEN_PACKAGES, failed(f"checks cannot be loaded: {error}", remedy)) for error in errors]
    known = [check.name for check in checks]
    for name in wanted:
        if name not in known:
            from nodespan.runtime.text.suggestions import did_you_mean

            raise UnknownCheckError(f"no check {name!r}{did_you_mean(name, known)}; there are: {', '.join(known)}")
    return [check for check in checks if not wanted or check.name in wanted], broken


def examine(check: Check, surroundings: Surroundings) -> Iterator[Verdict]:
    """The verdicts of a check; that it failed itself is one too."""
    try:
        yield from check.run(surroundings)
    except Exception as error:
        text = f"the check itself failed: {type(error).__name__}: {error}"
        yield failed(text, "report it, with the archive that nodespan support makes")


__all__ = [
    "CHECKS_GROUP",
    "Check",
    "Outcome",
    "Surroundings",
    "Verdict",
    "failed",
    "ok",
    "skipped",
    "warning",
]
