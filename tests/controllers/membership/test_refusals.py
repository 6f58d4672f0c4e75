"""Refusals in the log."""

from ipaddress import ip_address

from nodespan.controllers.membership.refusals import INTERVAL, RefusalLog


def test_a_source_is_logged_once_a_minute_with_the_number_of_those_that_were_not() -> None:
    log, now = RefusalLog(), 1000.0
    one, other = ip_address("192.0.2.1"), ip_address("192.0.2.2")
    assert log.unlogged(one, now) == 0
    assert [log.unlogged(one, now + step) for step in range(1, 60)] == [None] * 59
    assert log.unlogged(other, now + 59) == 0
    assert log.unlogged(one, now + INTERVAL) == 59
    assert log.unlogged(one, now + INTERVAL + 1) is None


def test_the_addresses_of_a_machine_are_one_source() -> None:
    log = RefusalLog()
    found = [log.unlogged(ip_address(f"2001:db8::{number:x}"), 0.0) for number in range(1000)]
    assert found == [0, *[None] * 999]


def test_any_number_of_sources_has_bounded_lines_and_memory() -> None:
    log = RefusalLog()
    for minute in range(3):
        now = minute * INTERVAL
        lines = [log.unlogged(ip_address(number << 8), now) for number in range(1, 1000)]
        assert sum(line is not None for line in lines) <= 257
        assert len(log) <= 257
