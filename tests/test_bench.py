"""What the tables of `make bench` and `make bench-compare` say of figures."""

import subprocess
from pathlib import Path

import pytest

from bench import agent
from bench.compare import Change, Failure, change, changes
from bench.measure import Figure


@pytest.mark.parametrize(
    ("ours", "goal", "mark"),
    [
        (1.0, None, ""),
        (2.0, None, ""),
        (2.1, None, "above the limit of 2"),
        (1.5, 1.5, ""),
        (1.6, 1.5, "the goal is not reached"),
        (2.1, 1.5, "above the limit of 2"),
    ],
)
def test_a_figure_is_marked_by_its_limit_and_its_goal(ours: float, goal: float | None, mark: str) -> None:
    assert Figure("what", ours, 1.0, 2, goal=goal).mark == mark


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        ([10, 10, 10], [10, 10, 10], ""),
        ([10, 10, 10], [10.4, 10.4, 10.5], ""),  # less than is believed at all
        ([10, 10, 10], [10.6, 10.6, 10.6], "WORSE"),
        ([10, 10, 10], [9, 9, 9], "better"),
        ([10, 12, 11], [11.9, 12.1, 12.5], ""),  # within what the rounds of one tree differ
        ([10, 12, 11], [12.2, 12.3, 12.4], "WORSE"),
        ([10, 10, 40], [20, 20, 20], ""),
        ([0, 0, 0], [0, 0, 0], ""),  # counts
        ([0, 0, 0], [1, 1, 1], "WORSE"),
    ],
)
def test_a_change_counts_if_the_best_rounds_differ_by_more_than_the_noise(
    before: list[float], after: list[float], verdict: str
) -> None:
    assert change("what", "us", before, after).verdict == verdict


@pytest.mark.parametrize(
    ("before", "after", "is_worse"),
    [
        ("", "KeyError: 1", True),
        ("", ", KeyError: 1", True),  # in the second round only
        ("KeyError: 1", "", False),
        ("KeyError: 1", "KeyError: 1", False),
    ],
)
def test_a_figure_that_only_the_new_tree_fails_to_measure_is_worse(before: str, after: str, is_worse: bool) -> None:
    def rounds(errors: str) -> list[dict[str, dict[str, object]]]:
        good: dict[str, object] = {"what": "what", "unit": "us", "ours": 1.0}
        return [{"a.b": {"error": error} if error else good} for error in errors.split(", ")]

    (found,) = changes({"before": rounds(before), "after": rounds(after)})
    assert isinstance(found, Failure)
    assert (found.is_worse, "WORSE" in str(found)) == (is_worse, is_worse)


def test_figures_that_both_trees_can_measure_are_compared() -> None:
    row: dict[str, object] = {"what": "what", "unit": "us", "ours": 1.0}
    (found,) = changes({"before": [{"a.b": row}], "after": [{"a.b": {**row, "ours": 2.0}}]})
    assert isinstance(found, Change)
    assert found.verdict == "WORSE"


def test_the_agent_that_is_measured_is_that_of_the_tree_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "nodespan/runtime/cli"
    package.mkdir(parents=True)
    for directory in (package.parent, package.parent.parent):
        (directory / "__init__.py").touch()
    (package / "__init__.py").write_text("def main(): print(__file__)")
    monkeypatch.chdir(tmp_path)
    done = subprocess.run([*agent.NODESPAN, "agent"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(package / "__init__.py")
