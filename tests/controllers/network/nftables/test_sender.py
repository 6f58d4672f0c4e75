"""Which nft gets a document, and what becomes of one that fails."""

from collections.abc import Callable
from typing import Any, cast

import attrs
import pytest
import trio

from nodespan.controllers.network.nftables.chain import Send, Sender, TableWork, _Others, _TableDriver
from nodespan.controllers.network.nftables.desired_table import DesiredTable
from nodespan.controllers.network.nftables.guard import GuardTable, GuardWork
from nodespan.kernel.packet_filter import nft
from nodespan.kernel.packet_filter.connections import Tracked
from nodespan.kernel.packet_filter.owned_table import OwnedTable
from nodespan.runtime.controller import Access, Retries


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
    guard, desired = GuardTable("t_guard", None), DesiredTable("t", "t_guard", Retries(), stale_after=300.0)
    guard.note(_guard_work(kept), cast(OwnedTable, kept))
    woken: list[bool] = []
    prior = cast(Any, Prior())
    driver = _TableDriver(None, desired, guard, _Others(), lambda: woken.append(True), prior, trio.Event())
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
    guard, desired = GuardTable("t_guard", None), DesiredTable("t", "t_guard", Retries(), stale_after=300.0)
    guard.note(_guard_work(kept), cast(OwnedTable, kept))
    driver = _TableDriver(None, desired, guard, _Others(), lambda: None, cast(Any, Prior()), trio.Event())
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
    desired, others = DesiredTable("t", "t_guard", Retries(), stale_after=300.0), _Others()
    driver = _TableDriver(
        None, desired, GuardTable("t_guard", None), others, lambda: None, cast(Any, Prior()), trio.Event()
    )
    applied = driver.job({"t": Send("{}", is_whole=True, tracks=True)})()
    assert (processes, applied.failed) == (["{}"], {})
    await driver.applied(cast(Access, None), applied.result)
    assert others.disturbance is not None
    assert f"may be cut off, for {reason}" in others.disturbance


@pytest.mark.parametrize(("work", "order"), [("tracks", ["asked", "{}"]), ("retracks", ["{}", "asked"])])
def test_rules_that_were_there_a_moment_ago_do_not_wait_for_connections(
    work: str, order: list[str], processes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def track(_: str | None) -> Tracked:
        processes.append("asked")
        return Tracked()

    monkeypatch.setattr("nodespan.kernel.packet_filter.connections.track_connections", track)
    desired = DesiredTable("t", "t_guard", Retries(), stale_after=300.0)
    driver = _TableDriver(
        None, desired, GuardTable("t_guard", None), _Others(), lambda: None, cast(Any, Prior()), trio.Event()
    )
    driver.job({"t": Send("{}", is_whole=True, tracks=work == "tracks", retracks=work == "retracks")})()
    assert processes == order
