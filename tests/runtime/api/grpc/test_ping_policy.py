"""How many pings are too many."""

from nodespan.runtime.api.grpc.limits import PingPolicy


def test_pings_at_the_interval_go_on_forever() -> None:
    policy = PingPolicy(10)
    assert not any(policy.is_too_many(now, 0) for now in range(0, 1000, 10))


def test_the_third_early_ping_is_too_many() -> None:
    policy = PingPolicy(10)
    assert [policy.is_too_many(now, 0) for now in range(4)] == [False, False, False, True]


def test_pings_that_follow_what_was_sent_do_not_count() -> None:
    policy = PingPolicy(10)
    assert not any(policy.is_too_many(now / 10, now) for now in range(1000))
    assert [policy.is_too_many(now / 10, 1000) for now in range(1000, 1003)] == [False, False, False]


def test_without_an_interval_any_number_is_fine() -> None:
    policy = PingPolicy(0)
    assert not any(policy.is_too_many(now / 1000, 0) for now in range(1000))
