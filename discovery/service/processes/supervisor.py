"""Starts the processes of a service, starts those again that die, and stops them: no more, so it has little to die of.

    starting → ready (all serve) → stopping → over
       ↓ one ends before it has ever served: its status is the service's

It does not run trio's loop, because it forks: a process that dies is replaced by a copy of this one, which has
everything imported and the listening sockets open. The processes end when this one does, however it ends: they hold one
end of a pipe, the other end of which is open here only.

Where a service manager waits for signs of life, the supervisor does so too: each process that serves writes into its
report from its loop, and one that is silent at several looks in a row is killed, and so started again.
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
_ALIVE = b"."
# How often in the time of the watchdog the processes give a sign of life, how often there is a look at who has, and at
# how many in a row one may be silent: all were silent at the first one after a pause of the whole machine.
_SIGNS = 4
_LOOKS = 2
_SILENT = 3
# Not while a process is being started: it would run the handlers of the supervisor, or be one that a stop leaves out.
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)


@attrs.frozen(kw_only=True)
class Life:
    """What a process of the service has of its supervisor.

    `orphaned` is readable when the supervisor is gone; call `ready` when the process serves. `watchdog`: after so many
    seconds without a sign of life the process is killed; 0 for never.
    """

    place: int
    orphaned: int
    report: int
    watchdog: float = 0.0

    def ready(self) -> None:
        """The process serves."""
        self._say(_READY)

    def stopping(self) -> None:
        """The process stops: the supervisor sees that it ends."""

    async def keep_alive(self) -> None:
        """Give signs of life until cancelled, for as long as the loop of this process runs."""
        while self.watchdog:
            self._say(_ALIVE)
            await trio.sleep(self.watchdog / _SIGNS)

    def _say(self, what: bytes) -> None:
        with suppress(BrokenPipeError, BlockingIOError):  # the supervisor is gone, or hears enough
            os.write(self.report, what)


@attrs.define
class _Process:
    """One place, and the process that has it, if any; `due` is when the next one is started.

    `silent`: at so many looks in a row nothing was heard of it, None before it serves.
    """

    place: int
    backoff: Backoff
    pid: int = 0
    started: float = 0.0
    due: float = 0.0
    report: int = -1
    has_served: bool = False
    silent: int | None = None


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
        self._look = time.monotonic() + manager.watchdog / _LOOKS if manager.watchdog else float("inf")

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
                self._look_after()
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
                self._signal_to(process, number)

    def _signal_to(self, process: _Process, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)

    def _look_after(self) -> None:
        """Kill the processes that hang."""
        now = time.monotonic()
        if now < self._look or self._stops:
            return
        self._look = now + self._manager.watchdog / _LOOKS
        for process in self._processes:
            if process.pid and process.silent is not None:
                process.silent += 1
                if process.silent >= _SILENT:
                    process.silent = None
                    self._log.error("a process hangs and is killed", process=process.place)
                    os.kill(process.pid, signal.SIGKILL)

    def _hurry(self) -> None:
        if time.monotonic() >= self._killing:
            self._killing = float("inf")
            self._signal(signal.SIGKILL)

    def _start_due(self) -> None:
        now = time.monotonic()
        for process in self._processes:
            if process.pid or self._stops or process.due > now:
                continue
            try:
                self._start(process)
            except OSError as error:
                self._not_started(process, error)

    def _start(self, process: _Process) -> None:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            if not self._stops:  # a signal may have come just now
                self._fork(process, before)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _fork(self, process: _Process, mask: set[signal.Signals | int]) -> None:
        reading, report = os.pipe()
        try:
            # Before the fork: there is no process whose report is not watched.
            self._selector.register(reading, selectors.EVENT_READ, process)
            try:
                pid = os.fork()
            except OSError:
                self._selector.unregister(reading)
                raise
        except OSError:
            os.close(reading)
            os.close(report)
            raise
        if pid:
            os.close(report)
            process.pid, process.report = pid, reading
            process.started = time.monotonic()
            process.silent = None
            if self._stops:
                # The signal came to another thread, which does not make it wait.
                self._signal_to(process, signal.SIGTERM)
            return
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            self._selector.close()
            for each in self._processes:
                if each.report >= 0:
                    os.close(each.report)
            for descriptor in (reading, self._life[1], *self._wake):
                os.close(descriptor)
            os.set_blocking(report, False)
            life = Life(place=process.place, orphaned=self._life[0], report=report, watchdog=self._manager.watchdog)
            status = self._work(life)
        except Exception:
            self._log.exception("a process failed", process=process.place)
        finally:
            # Nothing of the supervisor's runs on in its copy.
            os._exit(status)

    def _not_started(self, process: _Process, error: OSError) -> None:
        """There is no room for a process or its pipe: at the start that ends the service, later it is tried again."""
        self._log.error("a process cannot be started", process=process.place, error=str(error))
        if process.has_served:
            process.due = time.monotonic() + process.backoff.next()
        else:
            self._status = 1
            self._stop("a process cannot start")

    def _wait(self) -> None:
        dues = [process.due for process in self._processes if not process.pid and not self._stops]
        timeout = max(0.0, min((*dues, self._killing, self._look)) - time.monotonic())
        if self._manager.watchdog:
            timeout = min(timeout, self._manager.watchdog / 2)
        for key, _ in self._selector.select(None if timeout == float("inf") else timeout):
            if key.data is None:
                os.read(self._wake[0], 4096)
            else:
                self._heard(key.data)
        self._manager.alive()

    def _heard(self, process: _Process) -> None:
        """A process serves, lives, or has ended."""
        said = os.read(process.report, 4096)
        if not said:
            self._forget_report(process)
            return
        process.silent = 0
        if _READY not in said:
            return
        process.has_served = True
        if not self._is_ready and all(each.has_served for each in self._processes):
            self._is_ready = True
            self._manager.ready()
            self._log.info("all processes serve", processes=len(self._processes))

    def _forget_report(self, process: _Process) -> None:
        self._selector.unregister(process.report)
        os.close(process.report)
        process.report = -1

    def _reap(self) -> None:
        for process in self._processes:
            if not process.pid:
                continue
            pid, result = os.waitpid(process.pid, os.WNOHANG)
            if not pid:
                continue
            while process.report >= 0:
                self._heard(process)  # to the end
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
