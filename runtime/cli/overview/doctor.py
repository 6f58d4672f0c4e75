"""`nodespan doctor`: runs the checks of all installed packages, and says what to do."""

import argparse
import sys
from collections.abc import Callable, Iterable
from typing import Any

from nodespan.runtime.cli.errors import CommandError
from nodespan.runtime.cli.overview.form import to_json
from nodespan.runtime.cli.overview.surroundings import surroundings_of
from nodespan.runtime.cli.screen import Paint, for_terminal, shows_colours
from nodespan.runtime.codec.yamltext import dump
from nodespan.runtime.overview.check import (
    BROKEN_PACKAGES,
    Check,
    Outcome,
    Surroundings,
    UnknownCheckError,
    Verdict,
    examine,
    find_checks,
)
from nodespan.runtime.text.escaping import escaped
from nodespan.runtime.text.width import padded, width_of

UNHEALTHY = 3
_MARKS = {Outcome.OK: "✓", Outcome.WARNING: "!", Outcome.FAILED: "✗", Outcome.SKIPPED: "-"}
_COLOURS = {Outcome.OK: "green", Outcome.WARNING: "yellow", Outcome.FAILED: "red", Outcome.SKIPPED: "dim"}
_WRITE: dict[str, Callable[[dict[str, Any]], str]] = {"json": to_json, "yaml": dump}
Found = list[tuple[str, Verdict]]


def doctor(options: argparse.Namespace) -> int:
    """Run the checks; returns whether any failed. Raises CommandError."""
    require_known(options.output)
    checks, broken = chosen_checks(options.only)
    surroundings = surroundings_of(options)
    if options.output in ("json", "yaml"):
        found = [*broken, *collect(checks, surroundings)]
        sys.stdout.write(for_terminal(_WRITE[options.output](data_of(found))))
    else:
        width = max(width_of(name) for name in (BROKEN_PACKAGES, *(check.name for check in checks)))
        paint = Paint(enabled=shows_colours())

        def show(name: str, verdict: Verdict) -> None:
            sys.stdout.write("".join(f"{line}\n" for line in lines_of(name, verdict, width, paint)))
            sys.stdout.flush()  # a check may take seconds

        for name, verdict in broken:
            show(name, verdict)
        found = [*broken, *collect(checks, surroundings, show)]
        sys.stdout.write(f"{summary(found, paint)}\n")
    return exit_status(found, strict=options.strict)


def require_known(output: str) -> None:
    """Raise CommandError for a form of output that there is not."""
    if output not in ("text", "table", *_WRITE):
        raise CommandError(f"unknown output {output!r}: expected text, json or yaml")


def whole_text(found: Found, output: str, *, node: str = "") -> str:
    """All verdicts in a form of output, as those of a node if it has a name."""
    if output in _WRITE:
        return _WRITE[output](({"node": node} if node else {}) | data_of(found))
    paint = Paint(enabled=shows_colours())
    width = max((width_of(name) for name, _ in found), default=0)
    lines = [paint("bold", f"== {escaped(node)}")] if node else []
    for name, verdict in found:
        lines += lines_of(name, verdict, width, paint)
    return "".join(f"{line}\n" for line in (*lines, summary(found, paint)))


def chosen_checks(names: Iterable[str]) -> tuple[list[Check], Found]:
    """As `find_checks`. Raises CommandError."""
    try:
        return find_checks(names)
    except UnknownCheckError as error:
        raise CommandError(str(error)) from error


def collect(
    checks: Iterable[Check], surroundings: Surroundings, show: Callable[[str, Verdict], None] = lambda *_: None
) -> Found:
    """All verdicts, by the names of the checks; each is given to `show` as it comes."""
    found: Found = []
    for check in checks:
        for verdict in examine(check, surroundings):
            found.append((check.name, verdict))
            show(check.name, verdict)
    return found


def lines_of(name: str, verdict: Verdict, width: int, paint: Paint) -> Iterable[str]:
    """A verdict for people, which is never cut."""
    mark = paint(_COLOURS[verdict.outcome], _MARKS[verdict.outcome])
    yield f"{mark} {padded(escaped(name), width)}  {escaped(verdict.text)}"
    if verdict.remedy:
        yield f"  {' ' * width}  → {escaped(verdict.remedy)}"


def summary(found: Found, paint: Paint) -> str:
    """The last line."""
    failed, warned = _count(found, Outcome.FAILED), _count(found, Outcome.WARNING)
    warnings = f"{warned} warning{'' if warned == 1 else 's'}"
    if failed:
        return paint("red", f"{failed} failed, {warnings}")
    return paint("yellow", warnings) if warned else paint("green", "all is well")


def exit_status(found: Found, *, strict: bool) -> int:
    """0 if nothing failed; with `strict` only if there are no warnings either."""
    return UNHEALTHY if _count(found, Outcome.FAILED) or (strict and _count(found, Outcome.WARNING)) else 0


def data_of(found: Found) -> dict[str, Any]:
    """The verdicts for programs."""
    return {
        "healthy": not _count(found, Outcome.FAILED),
        "checks": [
            {"check": name, "outcome": verdict.outcome.value, "text": verdict.text, "remedy": verdict.remedy}
            for name, verdict in found
        ],
    }


def _count(found: Found, outcome: Outcome) -> int:
    return sum(verdict.outcome is outcome for _, verdict in found)
