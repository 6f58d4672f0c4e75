"""Keepalive intervals become what a WireGuard device takes, and a wish for some never becomes none."""

import datetime

import pytest

from nodespan.controllers.common.link_settings.keepalive import keepalive_seconds


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        (datetime.timedelta(), 0),
        (datetime.timedelta(seconds=25), 25),
        (datetime.timedelta(milliseconds=400), 1),
        (datetime.timedelta(microseconds=1), 1),
        (datetime.timedelta(milliseconds=25_600), 26),
        (datetime.timedelta(seconds=65_535), 65_535),
        (datetime.timedelta(seconds=70_000), 65_535),
        (datetime.timedelta(days=9_999), 65_535),
        (datetime.timedelta(seconds=-5), 0),
    ],
)
def test_an_interval_becomes_the_nearest_that_a_device_takes(given: datetime.timedelta, taken: int) -> None:
    assert keepalive_seconds(given) == taken
