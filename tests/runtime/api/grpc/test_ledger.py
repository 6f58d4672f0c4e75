"""Bytes that are held: shared ones count once, at each level."""

from nodespan.runtime.api.grpc.ledger import Ledger


def test_shared_data_counts_once_at_each_level_for_as_long_as_it_is_held() -> None:
    total = Ledger(100)
    one, other = Ledger(50, total), Ledger(50, total)
    page = bytes(40)
    for _ in range(400):
        assert one.add(page)
    assert other.add(page)
    assert (one.used, other.used, total.used) == (40, 40, 40)
    for _ in range(400):
        one.drop(page)
    assert (one.used, other.used, total.used) == (0, 40, 40)
    other.drop(page)
    assert total.used == 0


def test_equal_data_that_is_not_the_same_counts_each_time() -> None:
    ledger = Ledger(100)
    copies = [bytearray(40) for _ in range(3)]
    assert [ledger.add(copy) for copy in copies] == [True, True, False]
    assert ledger.used == 80


def test_what_a_parent_has_no_room_for_is_not_added_anywhere() -> None:
    total = Ledger(100)
    one, other = Ledger(90, total), Ledger(90, total)
    assert one.grow(80)
    assert not other.grow(30)
    assert not other.add(bytes(30))
    assert (one.used, other.used, total.used) == (80, 0, 80)
    one.shrink(80)
    assert other.grow(30)
