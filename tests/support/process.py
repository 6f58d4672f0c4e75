"""Daemons for tests: a process that runs for as long as a block does, and waiting for what it makes come true."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Protocol, TypeVar

import trio

from tests.support.deadlines import PATIENCE
from tests.support.netns import Namespace

Value = TypeVar("Value")


class Daemon(Protocol):
    """A process as `trio.Process` has it."""

    @property
    def pid(self) -> int: ...
    @property
    def returncode(self) -> int | None: ...
    def send_signal(self, sig: signal.Signals) -> None: ...
    def kill(self) -> None: ...
    async def wait(self) -> int: ...


@contextlib.asynccontextmanager
async def running(
    *command: str,
    namespace: Namespace | None = None,
    environment: Mapping[str, str] | None = None,
) -> AsyncIterator[trio.Process]:
    """Run a daemon beside the block, and end it as `ending` does. Its output is the test's.

    `environment` is added to this process's own. The daemon may end by itself; whoever cares looks at `returncode`.
    """
    process = await trio.lowlevel.open_process(
        namespace.inside(*command) if namespace else command,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **(environment or {})},
    )
    async with ending(process):
        yield process


@contextlib.asynccontextmanager
async def ending(process: Daemon, *, patience: float = PATIENCE) -> AsyncIterator[None]:
    """End a process at the end of the block; one that does not end on SIGTERM fails the test.

    A block that fails already keeps its error, with a note of that. A test that kills its process does it in the block.
    """
    try:
        yield
    except BaseException as error:
        if complaint := await end(process, patience=patience):
            failures = error.split(trio.Cancelled)[1] if isinstance(error, BaseExceptionGroup) else error
            if failures is None or isinstance(failures, trio.Cancelled):
                raise AssertionError(complaint) from error
            error.add_note(complaint)
        raise
    complaint = await end(process, patience=patience)
    assert not complaint, complaint


async def end(process: Daemon, *, patience: float = PATIENCE) -> str:
    """End a process by SIGTERM; by SIGKILL after `patience`, and then it returns what there is to complain about."""
    with trio.CancelScope(shield=True):
        process.send_signal(signal.SIGTERM)
        # A stopped process ends only when it goes on.
        process.send_signal(signal.SIGCONT)
        with trio.move_on_after(patience) as waiting:
            await process.wait()
        process.kill()
        await process.wait()
    return f"process {process.pid} did not end on SIGTERM within {patience:g} s" if waiting.cancelled_caught else ""


NOT_YET = (AssertionError, LookupError, ValueError)


async def eventually(check: Callable[[], Value], *, within: float = PATIENCE) -> Value:
    """Wait until `check` returns something true, and return that; for what the kernel or another process does.

    What `NOT_YET` names means just that: an AssertionError, and what a check raises that takes apart what is not there
    yet (a link without a master, a list without its one item). After `within` seconds the last one is raised. A check
    that takes long leaves three times as much to what it waits for, which may be in this process, or want the same
    processor. What takes long is looked at less often: most checks start programs. If the machine stands still, as
    virtual ones do, no more than half of the time is over.
    """
    waited, looked_at = 0.0, trio.current_time()
    while True:
        started = trio.current_time()
        waited, looked_at = waited + min(started - looked_at, within / 2), started
        try:
            value = check()
            assert value, f"{check} still returns {value!r}"
        except NOT_YET:
            if waited >= within:
                raise
            await trio.sleep(max(0.02, 3 * (trio.current_time() - started), waited / 20))
        else:
            return value


def stop(pid: int) -> None:
    """Stop a process with SIGSTOP, and wait until all its threads stand still: they go on for a moment. Blocks."""
    os.kill(pid, signal.SIGSTOP)
    deadline = time.monotonic() + PATIENCE
    while any(_state(thread) not in "Tt" for thread in Path(f"/proc/{pid}/task").iterdir()):
        assert time.monotonic() < deadline, f"process {pid} does not stop"
        time.sleep(0.001)


def _state(thread: Path) -> str:
    return (thread / "stat").read_text().rpartition(")")[2].split()[0]
