"""Declarations of metrics, and what is always measured: the process, and the event loop."""

import time

import prometheus_client
import pytest
import trio
from prometheus_client.core import CollectorRegistry

from nodespan.runtime.metrics import Kind, Metric, process
from nodespan.runtime.process.loop_lag import BOUNDS, LoopLag


@pytest.mark.parametrize(
    ("name", "kind", "base", "unit"),
    [
        ("calls_total", Kind.COUNTER, "calls", ""),
        ("sent_bytes_total", Kind.COUNTER, "sent_bytes", "bytes"),
        ("lag_seconds", Kind.HISTOGRAM, "lag_seconds", "seconds"),
        ("build_info", Kind.INFO, "build", ""),
        ("open", Kind.GAUGE, "open", ""),
    ],
)
def test_the_name_says_the_kind_and_the_unit(name: str, kind: Kind, base: str, unit: str) -> None:
    metric = Metric(name=name, text="x", kind=kind)
    assert (metric.base, metric.unit) == (base, unit)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("calls", Kind.COUNTER), ("calls_total", Kind.GAUGE), ("build", Kind.INFO), ("a_info", Kind.GAUGE)],
)
def test_a_name_that_does_not_say_its_kind_is_refused(name: str, kind: Kind) -> None:
    with pytest.raises(ValueError, match=f"{name}: the name of a {kind}"):
        Metric(name=name, text="x", kind=kind)


def test_labels_without_a_bound_are_refused() -> None:
    with pytest.raises(ValueError, match="how many series"):
        Metric(name="open", text="x", labels=("id",))


def test_the_process_is_measured_as_by_prometheus_own_library() -> None:
    registry = CollectorRegistry()
    prometheus_client.ProcessCollector(registry=registry)
    theirs = {family.name: family.samples[0].value for family in registry.collect()}
    ours = {family.metric.base: family.samples[0].value for family in process.collect()}
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        # Both read the same files, one after the other.
        assert value == pytest.approx(theirs[name], rel=0.05, abs=1), name


async def test_each_round_of_the_loop_counts_by_its_length(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    with LoopLag() as lag:
        monkeypatch.setattr(time, "perf_counter", lambda: now)
        await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()
        before, seconds = lag.counts, lag.seconds
        now += 0.2  # as if this task had computed
        await trio.lowlevel.checkpoint()
        monkeypatch.undo()
        change = [after - count for after, count in zip(lag.counts, before, strict=True)]
    slow = BOUNDS.index(0.25)
    assert change[slow:] == [change[-1]] * (len(BOUNDS) + 1 - slow)
    assert change[slow] - change[slow - 1] == 1
    assert lag.seconds - seconds == pytest.approx(0.2)
    await trio.lowlevel.checkpoint()
    assert lag.counts[-1] - before[-1] <= change[-1] + 1
