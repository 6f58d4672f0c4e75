"""Starts the processes of a service, starts those again that die, and stops them: no more, so it has little to die of.

    starting → ready (all serve) → stopping → over
       ↓ one ends before it has ever served: its status is the service's

It does not run trio's loop, because it forks: a process that dies is replaced by a copy of this one, which has
everything imported and the listening sockets open. The processes end when this one does, however it ends: they hold one
end of a pipe, the other end of which is open here only.
"""

import os
import selectors
import signal
import time
from collections.abc import Callable
from contextlib import suppress

import attrs
import trio

from nodespan.runtime.backoff import Backoff, Exponential
from nodespan.runtime.process.logger import Logger
from nodespan.runtime.process.service_manager import ServiceManager

_BACKOFF = Exponential(base=0.05, factor=2.0, cap=5.0, jitter=0.2)
# One that has served for so many seconds is started again without delay.
_LONG = 10.0
# How long, in seconds, the processes may take to stop.
_GRACE = 20.0
_READY = b"+"


@attrs.frozen(kw_only=True)
class Life:
    """What a process of the service has of its supervisor.

    `orphaned` is readable when the supervisor is gone; call `ready` when the process serves.
    """

    place: int
    orphaned: int
    report: int

    def ready(self) -> None:
        """The process serves."""
        os.write(self.report, _READY)
        os.close(self.report)

    def stopping(self) -> None:
        """The process stops: the supervisor sees that it ends."""

    async def keep_alive(self) -> None:
        """The supervisor gives the signs of life."""
        await trio.lowlevel.checkpoint()


@attrs.define
class _Process:
    """One place, and the process that has it, if any; `due` is when the next one is started."""

    place: int
    backoff: Backoff
    pid: int = 0
    started: float = 0.0
    due: float = 0.0
    report: int = -1
    has_served: bool = False


class Supervisor:
    """Runs `count` processes, each of which calls `work` and exits with what that returns."""

    def __init__(self, count: int, work: Callable[[Life], int], log: Logger, manager: ServiceManager) -> None:
        self._work = work
        self._log = log
        self._manager = manager
        self._processes = [_Process(place, Backoff(None, _BACKOFF)) for place in range(count)]
        self._selector = selectors.DefaultSelector()
        self._life = os.pipe()
        self._wake = os.pipe()
        self._stops = 0
        self._status = 0
        self._is_ready = False
        self._killing = float("inf")

    def run(self) -> int:
        """Until a signal to stop, or a process that cannot start; returns the exit status of the service."""
        for descriptor in self._wake:
            os.set_blocking(descriptor, False)
        self._selector.register(self._wake[0], selectors.EVENT_READ)
        before = [(number, signal.signal(number, self._note)) for number in (signal.SIGTERM, signal.SIGINT)]
        before.append((signal.SIGCHLD, signal.signal(signal.SIGCHLD, lambda *_: None)))
        waking = signal.set_wakeup_fd(self._wake[1], warn_on_full_buffer=False)
        try:
            while not self._stops or any(process.pid for process in self._processes):
                self._start_due()
                self._wait()
                self._reap()
                self._hurry()
        finally:
            signal.set_wakeup_fd(waking)
            for number, handler in before:
                signal.signal(number, handler)
            self._selector.close()
            for descriptor in (*self._life, *self._wake):
                os.close(descriptor)
        return self._status

    def _note(self, number: int, _frame: object) -> None:
        self._stop(signal.Signals(number).name)

    def _stop(self, reason: str) -> None:
        self._stops += 1
        if self._stops == 1:
            self._manager.stopping()
            self._log.info("stopping", reason=reason)
            self._killing = time.monotonic() + _GRACE
        self._signal(signal.SIGTERM if self._stops == 1 else signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        for process in self._processes:
            if process.pid:
                with suppress(ProcessLookupError):
                    os.kill(process.pid, number)

    def _hurry(self) -> None:
        if time.monotonic() >= self._killing:
            self._killing = float("inf")
            self._signal(signal.SIGKILL)

    def _start_due(self) -> None:
        now = time.monotonic()
        for process in self._processes:
            if not process.pid and not self._stops and process.due <= now:
                self._start(process)

    def _start(self, process: _Process) -> None:
        process.report, report = os.pipe()
        process.started = time.monotonic()
        pid = os.fork()
        if pid:
            os.close(report)
            process.pid = pid
            self._selector.register(process.report, selectors.EVENT_READ, process)
            return
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            self._selector.close()
            for each in self._processes:
                if each.report >= 0:
                    os.close(each.report)
            for descriptor in (self._life[1], *self._wake):
                os.close(descriptor)
            status = self._work(Life(place=process.place, orphaned=self._life[0], report=report))
        except Exception:
            self._log.exception("a process failed", process=process.place)
        finally:
            # Nothing of the supervisor's runs on in its copy.
            os._exit(status)

    def _wait(self) -> None:
        dues = [process.due for process in self._processes if not process.pid and not self._stops]
        timeout = max(0.0, min((*dues, self._killing)) - time.monotonic())
        watchdog = self._manager.watchdog / 2 or float("inf")
        timeout = min(timeout, watchdog)
        for key, _ in self._selector.select(None if timeout == float("inf") else timeout):
            if key.data is None:
                os.read(self._wake[0], 4096)
            else:
                self._heard(key.data)
        self._manager.alive()

    def _heard(self, process: _Process) -> None:
        """A process serves, or has ended."""
        said = os.read(process.report, 1)
        self._selector.unregister(process.report)
        os.close(process.report)
        process.report = -1
        if said != _READY:
            return
        process.has_served = True
        if not self._is_ready and all(each.has_served for each in self._processes):
            self._is_ready = True
            self._manager.ready()
            self._log.info("all processes serve", processes=len(self._processes))

    def _reap(self) -> None:
        for process in self._processes:
            if not process.pid:
                continue
            pid, result = os.waitpid(process.pid, os.WNOHANG)
            if not pid:
                continue
            if process.report >= 0:
                self._heard(process)
            process.pid = 0
            self._ended(process, os.waitstatus_to_exitcode(result))

    def _ended(self, process: _Process, status: int) -> None:
        if self._stops:
            self._status = self._status or max(0, status)
            return
        if not process.has_served:
            self._status = status if status > 0 else 1
            self._stop("a process cannot start")
            return
        now = time.monotonic()
        if now - process.started >= _LONG:
            process.backoff.reset()
            process.due = now
        else:
            process.due = now + process.backoff.next()
        self._log.error("a process has died and is started again", process=process.place, status=status)
