"""When paths are measured, and what is found of them."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodespan.controllers.kubespan.paths.rules import (
    BUDGET,
    GRAIN,
    LOSSES,
    ROUND_COST,
    SHORTEST_INTERVAL,
    TRIALS,
    Figures,
    Measured,
    SizeSearch,
    figures_of,
    interval_of,
    is_news,
    with_trial,
)
from nodespan.resources.kubespan import KubeSpanPeerStatusSpec, PathTrial, PeerState, TrialResult
from nodespan.resources.network.link import IPV6_MINIMUM_MTU

T = datetime(2026, 11, 29, tzinfo=UTC)


@pytest.mark.parametrize("peers", [1, 10, 100, 1_000, 10_000])
def test_idle_peers_are_measured_within_the_budget(peers: int) -> None:
    interval = interval_of(peers)
    assert interval >= SHORTEST_INTERVAL
    assert peers * ROUND_COST / interval <= BUDGET


@pytest.mark.parametrize(
    ("rounds", "figures"),
    [
        ([], Figures()),
        ([None, None], Figures(loss=1.0)),
        ([0.010], Figures(0.010, 0.010, 0.0)),
        ([0.010, None, 0.030, 0.020], Figures(0.020, 0.030, 0.25)),
    ],
)
def test_the_figures_of_rounds(rounds: list[float | None], figures: Figures) -> None:
    assert figures_of(rounds) == figures


@pytest.mark.parametrize(
    ("before", "after", "news"),
    [
        (Figures(), Figures(0.01, 0.01), True),
        (Figures(0.0100, 0.0110), Figures(0.0105, 0.0115), False),
        (Figures(0.0100, 0.0110), Figures(0.0125, 0.0125), True),
        (Figures(0.0001, 0.0002), Figures(0.0004, 0.0006), False),
        (Figures(0.01, 0.01), Figures(0.01, 0.01, 0.1), True),
        (Figures(0.01, 0.01), Figures(loss=1.0), True),
    ],
)
def test_what_is_worth_writing(before: Figures, after: Figures, news: bool) -> None:
    assert is_news(before, after) is news


def searched(search: SizeSearch, carries: int, *, most: int = 200) -> tuple[SizeSearch, int]:
    """The search once it is settled, and how many packets that took, on a path that carries packets up to a size."""
    for number in range(most):
        if search.is_settled:
            return search, number
        search = search.after(search.size, answered=search.size <= carries)
    raise AssertionError(f"not settled: {search}")


@settings(max_examples=50)
@given(st.integers(1284, 9000), st.integers(1280, 9100))
def test_a_search_finds_what_a_path_carries(largest: int, carries: int) -> None:
    found, packets = searched(SizeSearch(largest), carries)
    assert found.found <= carries
    assert found.found == largest if carries >= largest else found.found > carries - 2 * GRAIN
    # A packet a second: within the minute.
    assert packets <= 50


def test_a_path_that_carries_too_little_for_ipv6_is_told_apart() -> None:
    found, _ = searched(SizeSearch(1420), 1279)
    assert found.is_too_small
    assert found.found == 0


def test_one_loss_or_two_are_no_limit() -> None:
    search = SizeSearch(1420).after(1420, answered=True)
    for _ in range(LOSSES - 1):
        search = search.after(1420, answered=False)
    assert search.found == 1420
    assert not search.is_settled  # it is looked at again at once
    assert search.after(1420, answered=True) == SizeSearch(1420, carried=1420, found=1420)


@given(st.integers(1280, 1420), st.lists(st.sampled_from(["again", "lost", "searched"]), max_size=8))
def test_what_was_found_of_a_path_holds_while_it_is_searched_again(carries: int, steps: list[str]) -> None:
    search, _ = searched(SizeSearch(1420), carries)
    found = search.found
    for step in steps:
        if step == "again":
            search = search.again()
        elif step == "lost" and not search.lost:
            search = search.after(search.size, answered=False)
        elif step == "searched":
            while not search.is_settled:
                search = search.after(search.size, answered=search.size <= carries)
                assert search.found == found
        assert search.found == found


def test_the_least_of_ipv6_is_sure_to_go_through_a_path_that_became_narrower() -> None:
    search, _ = searched(SizeSearch(1420), 1400)
    assert 1384 < search.found <= 1400
    for _ in range(LOSSES):
        search = search.after(search.size, answered=False)
    assert search.found == IPV6_MINIMUM_MTU
    while not search.is_settled:
        assert search.found == IPV6_MINIMUM_MTU
        search = search.after(search.size, answered=search.size <= 1300)
    assert 1284 < search.found <= 1300


@given(st.integers(1280, 1420), st.integers(1280, 1420))
def test_a_path_that_changes_is_found_again(first: int, then: int) -> None:
    found, _ = searched(SizeSearch(1420), first)
    # A narrower path shows in the packets of a busy pair, a wider one when it is asked for.
    search = found.again()
    for _ in range(LOSSES):
        search = search.after(search.size, answered=search.size <= then)
    found, _ = searched(search, then)
    if found.found > then:  # it had been settled, and now its own size is lost
        for _ in range(LOSSES):
            found = found.after(found.size, answered=found.size <= then)
        found, _ = searched(found, then)
    assert then - 2 * GRAIN < found.found <= then


@pytest.mark.parametrize(
    ("steps", "begins"),
    [
        # Keepalives and handshakes of an hour, then traffic, that goes on, ends and begins again.
        ([(3600.0, 17_000), (3601.0, 40_000), (3630.0, 80_000), (3661.0, 80_100), (3670.0, 99_000)], [1, 4]),
        # A little at a time is as much.
        ([(10.0, 6_000), (20.0, 12_000)], [1]),
        # The tunnel counts anew.
        ([(10.0, 20_000), (11.0, 100), (12.0, 20_000)], [0, 2]),
        ([(600.0, 12_000), (1200.0, 24_000)], []),
    ],
)
def test_a_pair_is_busy_once_it_carries_more_than_idle_ones_do(
    steps: list[tuple[float, int]], begins: list[int]
) -> None:
    measured = Measured(SizeSearch(1420))
    assert [number for number, (now, carried) in enumerate(steps) if measured.notice(carried, now)] == begins


def status(state: PeerState, endpoint: str = "", used: str = "") -> KubeSpanPeerStatusSpec:
    return KubeSpanPeerStatusSpec(state=state, endpoint=endpoint, last_used_endpoint=used)


def test_trials_tell_how_a_path_was_found() -> None:
    steps = [
        (status(PeerState.UNKNOWN), []),
        (status(PeerState.UNKNOWN, used="a:1"), [("a:1", "trying")]),
        (status(PeerState.UNKNOWN, used="b:1"), [("a:1", "no answer"), ("b:1", "trying")]),
        (status(PeerState.UP, "b:1", "b:1"), [("a:1", "no answer"), ("b:1", "up")]),
        # The peer comes from elsewhere.
        (status(PeerState.UP, "c:9", "b:1"), [("a:1", "no answer"), ("b:1", "up"), ("c:9", "up")]),
        (status(PeerState.DOWN, "c:9", "c:9"), [("a:1", "no answer"), ("b:1", "up"), ("c:9", "lost")]),
        (
            status(PeerState.UNKNOWN, "c:9", "a:1"),
            [("a:1", "no answer"), ("b:1", "up"), ("c:9", "lost"), ("a:1", "trying")],
        ),
    ]
    trials: tuple[PathTrial, ...] = ()
    for number, (seen, expected) in enumerate(steps):
        trials = with_trial(trials, seen, T + timedelta(seconds=number))
        assert [(trial.endpoint, str(trial.result)) for trial in trials] == expected
        assert with_trial(trials, seen, T + timedelta(hours=1)) == trials


def test_a_few_trials_are_kept() -> None:
    trials: tuple[PathTrial, ...] = ()
    for number in range(3 * TRIALS):
        trials = with_trial(trials, status(PeerState.UNKNOWN, used=f"a:{number}"), T)
    assert len(trials) == TRIALS
    assert trials[-1] == PathTrial(endpoint=f"a:{3 * TRIALS - 1}", since=T, result=TrialResult.TRYING)
