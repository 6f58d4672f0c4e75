"""`nodespan doctor`: what it shows of verdicts, in which order, and its exit status."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from nodespan.runtime import installed
from nodespan.runtime.cli.errors import CommandError
from nodespan.runtime.cli.overview.doctor import chosen_checks, collect, data_of, exit_status, lines_of, summary
from nodespan.runtime.cli.screen import Paint
from nodespan.runtime.overview.check import Check, Surroundings, Verdict, failed, ok, skipped, warning

PLAIN = Paint(enabled=False)
HERE = Surroundings(state_dir=Path("/nonexistent"))


def one(_: Surroundings) -> Iterator[Verdict]:
    yield ok("fine")
    yield skipped("not here")


def two(_: Surroundings) -> Iterator[Verdict]:
    yield warning("hm\x1b[2J", "do\nthat")
    raise ZeroDivisionError("half way")


CHECKS = [Check(name="two", order=20, run=two), Check(name="one", order=10, run=one)]
NO_CHECKS = ["nothing"]


@pytest.fixture
def packages(monkeypatch: pytest.MonkeyPatch) -> None:
    def points(group: str) -> list[installed.EntryPoint]:
        values = {"a": f"{__name__}:CHECKS", "b": f"{__name__}:NO_CHECKS", "c": "nowhere:X"}
        return [installed.EntryPoint(name, value, group) for name, value in values.items()]

    monkeypatch.setattr(installed, "entry_points", points)


@pytest.mark.usefixtures("packages")
def test_checks_run_in_order_and_packages_that_cannot_be_loaded_are_a_failure_each() -> None:
    checks, broken = chosen_checks([])
    assert [check.name for check in checks] == ["one", "two"]
    assert [(name, verdict.outcome.value) for name, verdict in broken] == [("packages", "failed")] * 2


@pytest.mark.usefixtures("packages")
def test_one_check_may_be_chosen_and_a_misspelt_one_is_an_error() -> None:
    assert [check.name for check in chosen_checks(["two"])[0]] == ["two"]
    with pytest.raises(CommandError, match="no check 'tow', did you mean 'two'"):
        chosen_checks(["tow"])


def test_each_verdict_is_shown_as_it_comes_with_its_remedy_and_a_check_may_fail_itself() -> None:
    shown: list[str] = []
    found = collect(
        sorted(CHECKS, key=lambda check: check.order),
        HERE,
        lambda name, verdict: shown.extend(lines_of(name, verdict, 4, PLAIN)),
    )
    assert shown == [
        "✓ one   fine",
        "- one   not here",
        "! two   hm\\x1b[2J",
        "        → do\\nthat",
        "✗ two   the check itself failed: ZeroDivisionError: half way",
        "        → report it, with the archive that nodespan support makes",
    ]
    assert summary(found, PLAIN) == "1 failed, 1 warning"
    assert data_of(found)["healthy"] is False
    assert [each["outcome"] for each in data_of(found)["checks"]] == ["ok", "skipped", "warning", "failed"]


@pytest.mark.parametrize(
    ("verdicts", "strict", "status", "text"),
    [
        ([ok("x"), skipped("x")], True, 0, "all is well"),
        ([warning("x", "y")], False, 0, "1 warning"),
        ([warning("x", "y"), warning("x", "y")], True, 3, "2 warnings"),
        ([failed("x", "y")], False, 3, "1 failed, 0 warnings"),
    ],
)
def test_the_exit_status_and_the_last_line(verdicts: list[Verdict], strict: bool, status: int, text: str) -> None:
    found = [("x", verdict) for verdict in verdicts]
    assert (exit_status(found, strict=strict), summary(found, PLAIN)) == (status, text)
