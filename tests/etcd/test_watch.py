"""What proves a watch: the reads of the watch itself, and those that its client makes anyway."""

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, cast

import pytest
import trio
import trio.testing

from nodespan.etcd.errors import HistoryError
from nodespan.etcd.members import Members
from nodespan.etcd.values import Header, RangeAnswer
from nodespan.etcd.watch import BEAT, Events, watched

pytestmark = pytest.mark.virtual_clock

ENDPOINT = "http://one:2379"


class OneMember:
    """A client of one member, which answers at once, and whose watch is silent."""

    def __init__(self) -> None:
        self.in_order = (ENDPOINT,)
        self.revision = 7
        self.asked: list[float] = []
        self._told: list[Callable[[float, Header], None]] = []

    async def ask(self, endpoint: str, *_: object, within: float) -> RangeAnswer:
        assert (endpoint, within) == (ENDPOINT, 1.0)
        self.asked.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        return self.read()

    def read(self, *, took: float = 0.0) -> RangeAnswer:
        """A linearizable read by this client, for whatever reason."""
        header = Header(cluster_id=1, member_id=2, revision=self.revision, raft_term=4)
        for told in tuple(self._told):
            told(trio.current_time() - took, header)
        return RangeAnswer(header=header)

    @contextlib.contextmanager
    def reads_told(self, endpoint: str, read: Callable[[float, Header], None]) -> Iterator[None]:
        assert endpoint == ENDPOINT
        self._told.append(read)
        yield
        self._told.remove(read)

    @contextlib.asynccontextmanager
    async def stream(self, endpoint: str, *_: object) -> AsyncIterator[AsyncIterator[Any]]:
        assert endpoint == ENDPOINT

        async def silence() -> AsyncIterator[Any]:
            await trio.sleep_forever()
            yield

        yield silence()


@contextlib.asynccontextmanager
async def watching(*members: OneMember) -> AsyncIterator[Events]:
    async with watched(cast("Members", members[0]), b"k", prefix=True, from_revision=1) as events:
        await trio.testing.wait_all_tasks_blocked()
        yield events


async def test_a_watch_beside_which_nothing_is_read_is_proved_by_its_own_reads() -> None:
    member = OneMember()
    async with watching(member) as events:
        for beat in range(1, 9):
            await trio.sleep(BEAT)
            await trio.testing.wait_all_tasks_blocked()
            assert len(member.asked) == 1 + beat
            assert events.proved == member.asked[-1]


async def test_what_the_client_reads_anyway_proves_the_watch() -> None:
    member = OneMember()
    async with watching(member) as events:
        for _ in range(120):
            await trio.sleep(0.5)
            member.read()
            assert events.proved == trio.current_time()
        assert len(member.asked) == 1
        # They have ended: its own come as soon as they would have without them.
        last = trio.current_time()
        await trio.sleep(BEAT)
        await trio.testing.wait_all_tasks_blocked()
        assert member.asked[1:] == [last + BEAT]


async def test_an_answer_that_took_long_proves_nothing() -> None:
    member = OneMember()
    async with watching(member) as events:
        first = events.proved
        await trio.sleep(0.5)
        member.read(took=1.25)
        assert events.proved == first
        await trio.sleep(BEAT - 0.5)
        await trio.testing.wait_all_tasks_blocked()
        assert len(member.asked) == 2


async def test_a_read_that_shows_that_etcd_was_restored_ends_the_watch() -> None:
    member = OneMember()
    async with watching(member) as events:
        await trio.sleep(0.25)
        member.revision = 6
        # Whoever reads is not disturbed by that.
        member.read()
        with pytest.raises(HistoryError):
            await anext(events)
