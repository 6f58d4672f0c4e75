"""Which nft gets a document, and what becomes of one that fails."""

import contextlib
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import attrs
import pytest
import trio

from nodespan.controllers.network.nftables.chain import (
    Send,
    Sender,
    TableWork,
    Track,
    _Others,
    _TableDriver,
    _Tracking,
)
from nodespan.controllers.network.nftables.desired_table import DesiredTable
from nodespan.controllers.network.nftables.guard import GuardTable, GuardWork
from nodespan.controllers.network.nftables.retries import LastingRetries
from nodespan.kernel.packet_filter import nft
from nodespan.kernel.packet_filter.connections import Tracked
from nodespan.kernel.packet_filter.owned_table import OwnedTable
from nodespan.runtime.controller import Access
from tests.support.deadlines import PATIENCE
from tests.support.process import eventually


@attrs.define
class Kept:
    """An nft that is kept."""

    error: OSError | None = None
    is_open: bool = True
    pid: int = 7
    got: list[str] = attrs.field(factory=list)
    is_closed: bool = False

    def apply(self, text: str) -> None:
        self.got.append(text)
        if self.error is not None:
            raise self.error

    def close(self) -> None:
        self.is_open, self.is_closed = False, True


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What processes of their own got."""
    got: list[str] = []

    def apply(text: str, netns: str | None, started: Any) -> None:
        started(8)
        got.append(text)

    monkeypatch.setattr(nft, "apply", apply)
    return got


def send(kept: Kept | None, text: str = "{}") -> list[int]:
    started: list[int] = []
    Sender(None, cast(OwnedTable | None, kept), started.append).send(text)
    return started


def test_a_short_document_goes_to_the_nft_that_is_kept(processes: list[str]) -> None:
    kept = Kept()
    assert (send(kept), kept.got, processes) == ([7], ["{}"], [])


@pytest.mark.parametrize(
    ("kept", "text"), [(None, "{}"), (Kept(is_open=False), "{}"), (Kept(), "x" * 20_000)], ids=["none", "ended", "long"]
)
def test_others_get_a_process_of_their_own(processes: list[str], kept: Kept | None, text: str) -> None:
    assert send(kept, text) == [8]
    assert processes == [text]
    assert kept is None or kept.got == []


def test_a_document_whose_nft_is_killed_is_sent_again_by_another(processes: list[str]) -> None:
    assert send(Kept(BrokenPipeError())) == [7, 8]
    assert processes == ["{}"]


def test_one_that_does_not_answer_is_given_up_and_gets_no_second_document(processes: list[str]) -> None:
    kept = Kept(TimeoutError())
    with pytest.raises(TimeoutError):
        send(kept)
    assert (kept.is_open, processes) == (False, [])
    send(kept)
    assert processes == ["{}"]


def test_a_refusal_is_an_error_and_nothing_is_sent_twice(processes: list[str]) -> None:
    kept = Kept(OSError(22, "nft refuses"))
    with pytest.raises(OSError, match="refuses"):
        send(kept)
    assert (kept.is_open, processes) == (True, [])


async def test_a_guard_whose_nft_is_given_up_in_the_same_job_is_made_again_at_once(
    processes: list[str],
) -> None:
    kept = Kept(TimeoutError())
    guard, desired = GuardTable("t_guard", None), DesiredTable("t", "t_guard", LastingRetries(), stale_after=300.0)
    guard.note(_guard_work(kept), cast(OwnedTable, kept))
    woken: list[bool] = []
    prior = cast(Any, Prior())
    driver = _TableDriver(None, desired, guard, _Others(), lambda: woken.append(True), prior, trio.Event(), _Tracking())
    work: dict[str, TableWork] = {"t": Send("{}"), "t_guard": _guard_work(kept)}
    applied = driver.job(work)()
    assert set(applied.failed) == {"t"}
    # What was to be sent to the guard was not.
    assert (kept.got, processes) == (["{}"], [])
    await driver.applied(cast(Access, None), applied.result)
    assert guard.kept is None
    assert desired.has_news
    assert woken


async def test_an_nft_that_was_killed_before_its_document_is_closed_too() -> None:
    kept = Kept()
    guard, desired = GuardTable("t_guard", None), DesiredTable("t", "t_guard", LastingRetries(), stale_after=300.0)
    guard.note(_guard_work(kept), cast(OwnedTable, kept))
    driver = _TableDriver(None, desired, guard, _Others(), lambda: None, cast(Any, Prior()), trio.Event(), _Tracking())
    job = driver.job({"t_guard": _guard_work(kept)})
    kept.is_open = False
    await driver.applied(cast(Access, None), job().result)
    assert (guard.kept, kept.got, kept.is_closed) == (None, [], True)


class Prior:
    """What earlier agents have left."""

    def note_table(self, table: str, *, is_there: bool) -> None:
        pass


def _guard_work(kept: Kept) -> GuardWork:
    return GuardWork(name="t_guard", table=cast(OwnedTable, kept), text="{}", chains={}, sets={})


def _refuse(_: str | None) -> Tracked:
    raise OSError(95, "not supported")


@pytest.mark.parametrize(
    ("track", "reason"),
    [
        (_refuse, "they could not be made known to it: not supported"),
        (lambda _: Tracked(made=5, left_out=7, reason="it is full"), "7 of them could not be made known to it: it is"),
    ],
)
async def test_connections_that_cannot_be_made_known_are_named_and_the_rules_are_sent_all_the_same(
    track: Callable[[str | None], Tracked], reason: str, processes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nodespan.kernel.packet_filter.connections.track_connections", track)
    async with following() as at:
        applied = at.driver.job({"t": Track()})()
        assert (processes, applied.failed) == ([], {})
        await at.driver.applied(cast(Access, None), applied.result)
        await eventually(lambda: at.tracking.is_done)
        assert (at.tracking.is_running, at.desired.must_compare, at.desired.is_listed) == (False, True, False)
        assert at.woken
        assert at.others.disturbance is not None
        assert f"may be cut off, for {reason}" in at.others.disturbance


async def test_rules_that_were_there_a_moment_ago_do_not_wait_for_connections(
    processes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    may_go_on = threading.Event()

    def track(_: str | None) -> Tracked:
        processes.append("asked")
        may_go_on.wait(PATIENCE)
        return Tracked()

    monkeypatch.setattr("nodespan.kernel.packet_filter.connections.track_connections", track)
    async with following() as at:
        try:
            # As often as another program may delete the table meanwhile, one more is asked for afterwards.
            for _ in range(5):
                applied = at.driver.job({"t": Send("{}", is_whole=True, retracks=True)})()
                await at.driver.applied(cast(Access, None), applied.result)
            await eventually(lambda: "asked" in processes)
            assert processes == [*["{}"] * 5, "asked"]
        finally:
            may_go_on.set()
        await eventually(lambda: at.driver._retracking == 0)
        assert processes == [*["{}"] * 5, "asked", "asked"]


@attrs.frozen
class Following:
    """A driver whose tasks run."""

    driver: _TableDriver
    desired: DesiredTable
    others: _Others
    tracking: _Tracking
    woken: list[bool]


@contextlib.asynccontextmanager
async def following() -> AsyncIterator[Following]:
    desired = DesiredTable("t", "t_guard", LastingRetries(), stale_after=300.0)
    others, tracking = _Others(), _Tracking()
    woken: list[bool] = []
    guard = GuardTable("t_guard", None)
    prior = cast(Any, Prior())
    driver = _TableDriver(None, desired, guard, others, lambda: woken.append(True), prior, trio.Event(), tracking)
    async with trio.open_nursery() as driver._nursery:
        yield Following(driver, desired, others, tracking, woken)
