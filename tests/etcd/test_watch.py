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
        self.ends = trio.Event()
        # Answers that come when the stream has ended, before the watch has left it.
        self.late: list[Callable[[], RangeAnswer]] = []
        self.told: list[Callable[[], Callable[[Header], None]]] = []

    async def ask(self, endpoint: str, *_: object, within: float) -> RangeAnswer:
        assert (endpoint, within) == (ENDPOINT, 1.0)
        self.asked.append(trio.current_time())
        answer = self.ask_for()
        await trio.lowlevel.checkpoint()
        return answer()

    def ask_for(self) -> Callable[[], RangeAnswer]:
        """Begin a linearizable read by this client, for whatever reason; what is returned answers it."""
        answered = [begin() for begin in self.told]
        header = Header(cluster_id=1, member_id=2, revision=self.revision, raft_term=4)

        def answer() -> RangeAnswer:
            for each in answered:
                each(header)
            return RangeAnswer(header=header)

        return answer

    def read(self) -> RangeAnswer:
        """One that is answered at once."""
        return self.ask_for()()

    @contextlib.contextmanager
    def reads_told(self, endpoint: str, begin: Callable[[], Callable[[Header], None]]) -> Iterator[None]:
        assert endpoint == ENDPOINT
        self.told.append(begin)
        try:
            yield
        finally:
            for answer in self.late:
                answer()
            self.told.remove(begin)

    @contextlib.asynccontextmanager
    async def stream(self, endpoint: str, *_: object) -> AsyncIterator[AsyncIterator[Any]]:
        assert endpoint == ENDPOINT

        async def silence() -> AsyncIterator[Any]:
            await self.ends.wait()
            answers: tuple[Any, ...] = ()
            for answer in answers:
                yield answer

        yield silence()

    def avoid(self, endpoint: str) -> None:
        assert endpoint == ENDPOINT


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
        answer = member.ask_for()
        await trio.sleep(1.25)
        first = events.proved
        answer()
        assert events.proved == first
        await trio.sleep(2 * BEAT - 1.25)
        await trio.testing.wait_all_tasks_blocked()
        assert len(member.asked) == 3


async def test_an_answer_that_comes_when_the_stream_has_ended_proves_nothing() -> None:
    member = OneMember()
    async with watching(member) as events:
        await trio.sleep(0.25)
        member.late.append(member.ask_for())
        first = events.proved
        member.ends.set()
        await trio.testing.wait_all_tasks_blocked()
        assert not member.told
        assert events.proved == first < trio.current_time()


async def test_a_read_that_shows_that_etcd_was_restored_ends_the_watch() -> None:
    member = OneMember()
    async with watching(member) as events:
        await trio.sleep(0.25)
        member.revision = 6
        # Whoever reads is not disturbed by that.
        member.read()
        with pytest.raises(HistoryError):
            await anext(events)


async def test_of_reads_side_by_side_each_shows_what_was_known_when_it_was_asked_for() -> None:
    member = OneMember()
    async with watching(member) as events:
        await trio.sleep(0.25)
        early = member.ask_for()
        member.revision = 9
        late = member.ask_for()
        late()
        # Answered later, and not older than what was known by then.
        early()
        assert events.proved == trio.current_time()
        member.revision = 8
        member.read()
        with pytest.raises(HistoryError):
            await anext(events)
