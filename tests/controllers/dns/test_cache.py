"""What is kept, for how long, and how much of it."""

import sys

import attrs
import pytest

from nodespan.controllers.dns.cache import Answer, Cache, key_of
from nodespan.controllers.dns.queries import Query, RCode

FOUND = Answer(rcode=RCode.NOERROR, counts=(1, 0), ttl=60)


def query(name: str = "a.example", *, flags: int = 0x0100, **fields: bool) -> Query:
    return Query(id=1, flags=flags, question=b"", name=name, type=1, **fields)


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        (FOUND, 60),
        (attrs.evolve(FOUND, ttl=0), 5),
        (attrs.evolve(FOUND, ttl=10**6), 3600),
        (Answer(rcode=RCode.NXDOMAIN, ttl=3600), 10),
        (Answer(rcode=RCode.NOERROR, counts=(0, 1), ttl=7), 7),
        (Answer(rcode=RCode.NXDOMAIN), 5),
        (Answer(rcode=RCode.SERVFAIL, ttl=60), 5),
        (Answer(rcode=RCode.REFUSED), 5),
    ],
)
def test_an_answer_is_kept_as_long_as_it_says_within_bounds(answer: Answer, seconds: float) -> None:
    cache = Cache()
    key = key_of(query())
    cache.put(key, answer, 100.0)
    assert cache.find(key, 100.0) == (answer, seconds)
    assert cache.find(key, 100.0 + seconds - 0.5) == (answer, 0.5)
    assert cache.find(key, 100.0 + seconds) is None
    assert (len(cache), cache.size) == (0, 0)


def test_what_is_asked_otherwise_is_another_answer() -> None:
    kinds = [query(), query("b.example"), query(flags=0x0110), query(wants_signatures=True)]
    assert len({key_of(each) for each in kinds}) == len(kinds)


def test_the_answer_that_was_not_used_for_longest_makes_room_and_negative_ones_push_out_no_positive() -> None:
    cache = Cache(most=2)
    keys = [key_of(query(f"{letter}.example")) for letter in "abc"]
    cache.put(keys[0], FOUND, 0.0)
    cache.put(keys[1], FOUND, 0.0)
    cache.find(keys[0], 1.0)
    cache.put(keys[2], FOUND, 1.0)
    assert [cache.find(key, 1.0) is not None for key in keys] == [True, False, True]
    for number in range(5):
        cache.put(key_of(query(f"{number}.none")), Answer(rcode=RCode.NXDOMAIN), 1.0)
    assert [cache.find(key, 1.0) is not None for key in keys] == [True, False, True]
    assert len(cache) == 4
    cache.clear()
    assert (len(cache), cache.size) == (0, 0)


def test_the_bytes_are_bounded_and_an_answer_replaces_the_one_before() -> None:
    cache = Cache(most_bytes=40_000)
    large = attrs.evolve(FOUND, records=bytes(5000))
    for number in range(50):
        cache.put(key_of(query(f"{number}.example")), large, 0.0)
        assert cache.size <= 20_000
    key = key_of(query("49.example"))
    cache.put(key, Answer(rcode=RCode.NXDOMAIN), 0.0)
    found = cache.find(key, 0.0)
    assert found is not None
    assert found[0].rcode == RCode.NXDOMAIN
    assert len(cache) == 3


def test_an_answer_counts_with_its_name_and_all_that_is_kept_for_each_record() -> None:
    cache = Cache()
    plain, name = key_of(query("")), key_of(query(1000 * "n"))
    many = attrs.evolve(FOUND, records=bytes(16_000), lifetimes=tuple(range(0, 16_000, 16)))
    cache.put(plain, many, 0.0)
    of_answer = cache.size
    assert of_answer >= sys.getsizeof(many.records) + sys.getsizeof(many.lifetimes) + 28 * 990
    cache.put(name, many, 0.0)
    assert cache.size == 2 * of_answer + 1000
    cache.put(name, FOUND, 0.0)
    cache.put(plain, FOUND, 0.0)
    cache.clear()
    assert cache.size == 0
