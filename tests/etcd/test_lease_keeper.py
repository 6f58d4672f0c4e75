"""Keeping a lease in virtual time, against a scripted etcd."""

import itertools
import math
from collections.abc import Callable

import attrs
import pytest
import trio

from nodespan.etcd import HistoryError, LeaseGoneError, LeaseKeeper, UnavailableError, kept_lease, valid_for
from nodespan.etcd.errors import RefusedError
from nodespan.etcd.values import Header, KeyValue, Lease, RangeAnswer, Renewal, Sort

TTL = 5.0
pytestmark = pytest.mark.virtual_clock


@attrs.define
class FakeEtcd:
    """`fail` is raised by every call while it is set; `delay` is how long a renewal's answer takes."""

    timeout: float = 1.5
    renewal_term: int = 2
    term: int = 2
    cluster: int = 1
    revision: int = 10
    key_values: tuple[KeyValue, ...] = ()
    fail: Exception | None = None
    delay: float = 0.0
    revoked: list[int] = attrs.field(factory=list)
    sent: list[float] = attrs.field(factory=list)

    async def grant(self, ttl: float) -> Lease:
        await trio.lowlevel.checkpoint()
        return Lease(7, ttl)

    async def keepalive(self, lease: int, *, within: float | None = None) -> Renewal:
        self.sent.append(trio.current_time())
        await trio.sleep(self.delay)
        if self.fail:
            raise self.fail
        return Renewal(header=self._header(self.renewal_term), ttl=TTL)

    async def revoke(self, lease: int, *, within: float | None = None) -> None:
        await trio.lowlevel.checkpoint()
        if self.fail:
            raise self.fail
        self.revoked.append(lease)

    async def range(
        self,
        key: bytes,
        *,
        prefix: bool = False,
        sort: Sort | None = None,
        limit: int = 0,
        keys_only: bool = False,
        within: float | None = None,
    ) -> RangeAnswer:
        await trio.lowlevel.checkpoint()
        assert limit == 1
        assert prefix is (sort is Sort.CREATED_ASCENDING)
        found = sorted(
            (each for each in self.key_values if each.key == key or (prefix and each.key.startswith(key))),
            key=lambda each: each.create_revision,
        )
        return RangeAnswer(header=self._header(self.term), key_values=tuple(found[:1]))

    def _header(self, term: int) -> Header:
        return Header(cluster_id=self.cluster, member_id=1, revision=self.revision, raft_term=term)


def down() -> UnavailableError:
    return UnavailableError({"http://a:1": "no leader"})


async def test_a_lease_that_is_renewed_stays_valid() -> None:
    etcd = FakeEtcd()
    async with kept_lease(etcd, TTL, clock=trio.current_time) as keeper:
        for _ in range(10):
            await keeper.wait_renewed()
            assert keeper.valid_until == etcd.sent[-1] + valid_for(TTL)
        assert keeper.is_valid
        assert keeper.trouble == ""
        assert {later - sent for sent, later in itertools.pairwise(etcd.sent)} == {0.5}
    assert etcd.revoked == [7]
    assert not keeper.is_valid
    assert keeper.valid_until == -math.inf


@pytest.mark.parametrize("delay", [0.0, 0.1, 0.3])
async def test_every_second_renewal_is_due_with_the_looks_of_the_agent(delay: float) -> None:
    etcd = FakeEtcd(delay=delay)
    await trio.sleep(0.2)
    async with kept_lease(etcd, TTL, clock=trio.current_time):
        await trio.sleep(60)
    first, *later = etcd.sent
    assert [first, *later] == [0.2, *(0.5 * beat for beat in range(1, 121))]


async def test_validity_counts_from_the_request_however_late_the_answer_is() -> None:
    etcd = FakeEtcd(delay=1.2)
    async with kept_lease(etcd, TTL, clock=trio.current_time) as keeper:
        await keeper.wait_renewed()
        # Sent when the answer before it came, which took longer than the interval.
        assert keeper.valid_until == 1.2 + valid_for(TTL)
        assert trio.current_time() == 2.4


async def test_without_renewal_the_holder_stops_in_time_and_may_go_on_later() -> None:
    etcd = FakeEtcd()
    async with kept_lease(etcd, TTL, clock=trio.current_time) as keeper:
        await keeper.wait_renewed()
        etcd.fail = down()
        until = keeper.valid_until
        reason = await keeper.wait_invalid()
        assert until <= trio.current_time() < until + 0.01
        assert reason == "the lease was not renewed in time: etcd is not available: http://a:1: no leader"
        assert keeper.lost is None
        await trio.sleep(60)
        etcd.fail = None
        with trio.fail_after(0.2):
            await keeper.wait_valid()
        assert keeper.is_valid


async def test_a_renewal_with_a_term_unlike_the_majoritys_does_not_count() -> None:
    etcd = FakeEtcd()
    async with kept_lease(etcd, TTL, clock=trio.current_time) as keeper:
        await keeper.wait_renewed()
        until = keeper.valid_until
        etcd.term = 3
        assert "majority" in await keeper.wait_invalid()
        assert keeper.valid_until == until
        etcd.renewal_term = 3
        await keeper.wait_valid()


def _lease_gone(etcd: FakeEtcd) -> None:
    etcd.fail = LeaseGoneError("the lease has ended at etcd")


def _history_error(etcd: FakeEtcd) -> None:
    etcd.fail = HistoryError("another past")


def _older(etcd: FakeEtcd) -> None:
    etcd.revision -= 1


def _another_cluster(etcd: FakeEtcd) -> None:
    etcd.cluster = 9


def _key_deleted(etcd: FakeEtcd) -> None:
    etcd.key_values = ()


def _key_made_anew(etcd: FakeEtcd) -> None:
    etcd.key_values = (KeyValue(key=b"own", create_revision=9),)


@pytest.mark.parametrize(
    ("happens", "reason"),
    [
        (_lease_gone, "has ended"),
        (_history_error, "another past"),
        (_older, "old snapshot"),
        (_another_cluster, "another cluster"),
        (_key_deleted, "deleted"),
        (_key_made_anew, "deleted"),
    ],
)
async def test_an_unrecoverable_error_loses_the_lease_at_once(happens: Callable[[FakeEtcd], None], reason: str) -> None:
    etcd = FakeEtcd(key_values=(KeyValue(key=b"own", create_revision=4),))
    async with kept_lease(etcd, TTL, clock=trio.current_time) as keeper:
        keeper.guard(b"own", 4)
        await keeper.wait_renewed()
        happens(etcd)
        with trio.fail_after(1.01):
            assert reason in await keeper.wait_lost()
        assert reason in await keeper.wait_invalid()
        assert keeper.valid_until == -math.inf
        for waiting in (keeper.wait_valid, keeper.wait_renewed):
            with pytest.raises(LeaseGoneError, match=reason):
                await waiting()
        beats = len(etcd.sent)
        await trio.sleep(60)
        assert len(etcd.sent) == beats


async def test_a_leader_that_finds_an_older_candidate_steps_back() -> None:
    """As in a history that was restored from a snapshot, in which somebody leads who has resigned since."""
    own, later = KeyValue(key=b"e/own", create_revision=4), KeyValue(key=b"e/later", create_revision=7)
    etcd = FakeEtcd(key_values=(later, own, KeyValue(key=b"other/first", create_revision=1)))
    async with kept_lease(etcd, TTL, clock=trio.current_time) as keeper:
        keeper.guard(b"e/own", 4, oldest_of=b"e/")
        await trio.sleep(60)
        assert keeper.is_valid
        etcd.key_values = (KeyValue(key=b"e/resigned", create_revision=2), own)
        with trio.fail_after(1.01):
            assert "not the first any more" in await keeper.wait_lost()


async def test_a_block_that_depends_on_the_lease_is_cancelled_with_it() -> None:
    etcd = FakeEtcd()
    async with kept_lease(etcd, TTL, clock=trio.current_time) as keeper:
        async with keeper.while_not_lost():
            await trio.sleep(1)
        with pytest.raises(ValueError, match="its own"):
            async with keeper.while_not_lost():
                raise ValueError("its own")
        etcd.fail = LeaseGoneError("gone")
        with pytest.raises(LeaseGoneError, match="gone"):
            async with keeper.while_not_lost():
                await trio.sleep_forever()


async def test_an_abandoned_lease_expires() -> None:
    etcd = FakeEtcd()
    async with kept_lease(etcd, TTL, clock=trio.current_time) as keeper:
        await keeper.wait_renewed()
        keeper.abandon()
        keeper.abandon()
        beats = len(etcd.sent)
        assert not keeper.is_valid
        await trio.sleep(60)
        assert len(etcd.sent) == beats
    assert etcd.revoked == []


async def test_a_clock_that_jumps_ahead_ends_the_validity_within_a_moment() -> None:
    ahead = 0.0
    etcd = FakeEtcd()
    async with kept_lease(etcd, TTL, clock=lambda: trio.current_time() + ahead) as keeper:
        await keeper.wait_renewed()
        ahead = 3600.0
        assert not keeper.is_valid
        with trio.fail_after(0.11):
            assert "stopped for too long" in await keeper.wait_invalid()


@pytest.mark.parametrize("error", [down(), RefusedError("no", 3)])
async def test_a_lease_that_cannot_be_revoked_is_logged_and_left_to_expire(error: Exception) -> None:
    etcd = FakeEtcd()
    kept: list[LeaseKeeper] = []
    with trio.CancelScope() as scope:
        async with kept_lease(etcd, TTL, clock=trio.current_time) as keeper:
            kept.append(keeper)
            etcd.fail = error
            scope.cancel()
            await trio.sleep_forever()
    assert kept[0].trouble == str(error)


@pytest.mark.parametrize("beats", [120, 240])
async def test_a_holder_is_woken_by_renewals_and_once_in_a_lifetime_of_the_lease(beats: int) -> None:
    """Not ten times a second: nothing looks at the clock while the deadline is known to be further away."""
    etcd, alarms = FakeEtcd(), 0

    async def until(moment: float) -> None:
        nonlocal alarms
        alarms += 1
        await trio.sleep_until(moment)

    async with kept_lease(etcd, TTL, clock=trio.current_time, until=until) as keeper:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keeper.wait_invalid)
            await trio.sleep(beats * 0.5)
            # Each is for the deadline of the latest renewal, 4 s ahead or half a second less.
            assert beats * 0.5 / valid_for(TTL) <= alarms <= beats * 0.5 / (valid_for(TTL) - 0.5) + 1
            etcd.fail = down()
            expected = keeper.valid_until
        assert trio.current_time() == expected


async def test_a_lease_that_was_invalid_is_watched_again_once_it_is_valid() -> None:
    etcd = FakeEtcd()
    async with kept_lease(etcd, TTL, clock=trio.current_time, until=trio.sleep_until) as keeper:
        for _ in range(3):
            etcd.fail = down()
            until = keeper.valid_until
            await keeper.wait_invalid()
            assert trio.current_time() == until
            await trio.sleep(7)
            etcd.fail = None
            await keeper.wait_valid()
