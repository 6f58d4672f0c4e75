"""The supervisor alone, with processes that do next to nothing: what signals, hanging and a lack of room do to it."""

import errno
import gc
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
import trio

from nodespan.discovery.service.processes import supervisor
from nodespan.discovery.service.processes.supervisor import Life, Supervisor
from nodespan.runtime.process.service_manager import ServiceManager

LOG = structlog.get_logger()


class Watched(Supervisor):
    """Notes how its processes end; after `most` of them it stops."""

    def __init__(self, count: int, work: Callable[[Life], int], most: int, watchdog: float = 0.0) -> None:
        super().__init__(count, work, LOG, ServiceManager(watchdog=watchdog))
        self.statuses: list[int] = []
        self._most = most

    def _ended(self, process: Any, status: int) -> None:
        self.statuses.append(status)
        super()._ended(process, status)
        if len(self.statuses) == self._most:
            self._stop("enough")


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    # What a stop does not reach is to fail by the status it ends with.
    monkeypatch.setattr(supervisor, "_GRACE", 10.0)


def _until_orphaned(life: Life) -> int:
    life.ready()
    os.read(life.orphaned, 1)
    return 0


def _until_told(life: Life) -> int:
    signal.pause()
    return 0


@pytest.fixture
def forks(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Callable[[int], None]]]:
    """What the supervisor is interrupted by after its forks, one after the other."""
    after: list[Callable[[int], None]] = []
    fork = os.fork

    def interrupted() -> int:
        pid = fork()
        if pid and after:
            after.pop(0)(pid)
        return pid

    monkeypatch.setattr(os, "fork", interrupted)
    yield after
    assert not after


def test_a_signal_during_the_start_of_a_process_stops_that_one_too(forks: list[Callable[[int], None]]) -> None:
    forks.append(lambda pid: os.kill(os.getpid(), signal.SIGTERM))
    watched = Watched(2, _until_told, most=99)
    assert watched.run() == 0
    assert watched.statuses == [-signal.SIGTERM]


def test_a_signal_that_comes_to_another_thread_stops_a_process_that_is_starting_too(
    forks: list[Callable[[int], None]],
) -> None:
    def elsewhere(pid: int) -> None:
        def send() -> None:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
            signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

        thread = threading.Thread(target=send)
        thread.start()
        thread.join()

    forks.append(elsewhere)
    watched = Watched(2, _until_told, most=99)
    assert watched.run() == 0
    assert watched.statuses == [-signal.SIGTERM]


def test_a_new_process_runs_no_handler_of_the_supervisor(forks: list[Callable[[int], None]]) -> None:
    forks.append(lambda pid: os.kill(pid, signal.SIGTERM))
    watched = Watched(1, _until_told, most=99)
    assert watched.run() == 1
    assert watched.statuses == [-signal.SIGTERM]


def test_a_lack_of_room_for_a_new_process_is_waited_out(monkeypatch: pytest.MonkeyPatch) -> None:
    fork = os.fork
    results: list[int] = []

    def scarce() -> int:
        if len(results) in (1, 2):
            results.append(0)
            raise BlockingIOError(errno.EAGAIN, "no room")
        results.append(1)
        return fork()

    def work(life: Life) -> int:
        life.ready()
        return 3

    gc.collect()  # what earlier tests left
    files = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(os, "fork", scarce)
    watched = Watched(1, work, most=2)
    assert watched.run() == 0
    assert watched.statuses == [3, 3]
    assert results == [1, 0, 0, 1]
    assert len(os.listdir("/proc/self/fd")) <= files


def test_a_process_whose_report_cannot_be_watched_is_not_started_until_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    def work(life: Life) -> int:
        life.ready()
        return 3

    gc.collect()  # what earlier tests left
    files = len(os.listdir("/proc/self/fd"))
    watched = Watched(1, work, most=2)
    register = watched._selector.register
    reports: list[bool] = []

    def scarce(file: Any, events: int, data: Any = None) -> Any:
        if data is not None:
            reports.append(len(reports) not in (1, 2))
            if not reports[-1]:
                raise OSError(errno.ENOSPC, "the user watches too many files")
        return register(file, events, data)

    monkeypatch.setattr(watched._selector, "register", scarce)
    assert watched.run() == 0
    assert watched.statuses == [3, 3]
    assert reports == [True, False, False, True]
    assert len(os.listdir("/proc/self/fd")) <= files


def test_a_lack_of_room_at_the_start_ends_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = os.pipe
    made: list[tuple[int, int]] = []

    def scarce() -> tuple[int, int]:
        if len(made) == 3:
            raise OSError(errno.EMFILE, "too many open files")
        made.append(pipe())
        return made[-1]

    monkeypatch.setattr(os, "pipe", scarce)
    watched = Watched(2, _until_told, most=99)
    assert watched.run() == 1
    assert watched.statuses == [-signal.SIGTERM]


def test_a_process_that_hangs_is_killed_and_one_that_gives_signs_of_life_is_not() -> None:
    async def live(life: Life) -> None:
        life.ready()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(life.keep_alive)
            await trio.lowlevel.wait_readable(life.orphaned)
            nursery.cancel_scope.cancel()

    def work(life: Life) -> int:
        if life.place:
            return _until_orphaned(life)  # and says nothing more
        trio.run(live, life)
        return 0

    watched = Watched(2, work, most=1, watchdog=2.0)
    watched.run()
    assert watched.statuses == [-signal.SIGKILL, -signal.SIGTERM]
