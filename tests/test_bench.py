"""What the tables of `make bench` and `make bench-compare` say of figures."""

import pytest

from bench.compare import change
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
