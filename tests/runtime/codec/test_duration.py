"""Durations read and write as the originals' do."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodespan.runtime.codec.duration import format_duration, parse_duration

TEXTS = [
    ({}, "0s"),
    ({"microseconds": 1}, "1µs"),
    ({"microseconds": 250}, "250µs"),
    ({"milliseconds": 1}, "1ms"),
    ({"microseconds": 1500}, "1.5ms"),
    ({"milliseconds": 100}, "100ms"),
    ({"seconds": 1}, "1s"),
    ({"seconds": 1, "milliseconds": 50}, "1.05s"),
    ({"seconds": 25}, "25s"),
    ({"minutes": 1}, "1m0s"),
    ({"minutes": 1, "seconds": 2, "microseconds": 3}, "1m2.000003s"),
    ({"hours": 1}, "1h0m0s"),
    ({"days": 3, "seconds": 1}, "72h0m1s"),
    ({"seconds": -5}, "-5s"),
    ({"hours": -1}, "-1h0m0s"),
]


@pytest.mark.parametrize(("parts", "text"), TEXTS)
def test_a_duration_has_one_text(parts: dict[str, int], text: str) -> None:
    assert format_duration(timedelta(**parts)) == text
    assert parse_duration(text) == timedelta(**parts)


@pytest.mark.parametrize(
    ("text", "seconds"), [("0", 0), ("+5s", 5), ("1.5h", 5400), (".5s", 0.5), ("1us", 1e-6), ("1h1s", 3601), ("1ns", 0)]
)
def test_other_ways_of_writing_are_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "-", "5", "s", "1d", "1 s", "one", "1s2", "--1s", "9999999999999h"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


@given(st.timedeltas(min_value=timedelta(days=-10_000), max_value=timedelta(days=10_000)))
def test_every_duration_reads_back(duration: timedelta) -> None:
    assert parse_duration(format_duration(duration)) == duration
