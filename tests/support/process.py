"""Daemons for tests: a process that runs for as long as a block does, and waiting for what it makes come true."""

import contextlib
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Protocol, TypeVar

import trio

from tests.support.deadlines import PATIENCE
from tests.support.netns import Namespace

Value = TypeVar("Value")


class Daemon(Protocol):
    """A process as `trio.Process` has it."""

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
    """Run a daemon beside the block; at its end SIGTERM, after `PATIENCE` SIGKILL. Its output is the test's.

    `environment` is added to this process's own. The daemon may end by itself; whoever cares looks at `returncode`.
    """
    process = await trio.lowlevel.open_process(
        namespace.inside(*command) if namespace else command,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **(environment or {})},
    )
    try:
        yield process
    finally:
        await end(process)


async def end(process: Daemon) -> None:
    """End a process: SIGTERM, after `PATIENCE` SIGKILL."""
    with trio.CancelScope(shield=True):
        process.send_signal(signal.SIGTERM)
        # A stopped process ends only when it goes on.
        process.send_signal(signal.SIGCONT)
        with trio.move_on_after(PATIENCE):
            await process.wait()
        process.kill()
        await process.wait()


async def eventually(check: Callable[[], Value], *, within: float = PATIENCE) -> Value:
    """Wait until `check` returns something true, and return that; for what the kernel or another process does.

    An AssertionError from `check` means "not yet". After `within` seconds the last one is raised. A check that takes
    long leaves three times as much to what it waits for, which may be in this process, or want the same processor.
    """
    deadline = trio.current_time() + within
    while True:
        started = trio.current_time()
        try:
            value = check()
            assert value, f"{check} still returns {value!r}"
        except AssertionError:
            if trio.current_time() >= deadline:
                raise
            await trio.sleep(max(0.02, 3 * (trio.current_time() - started)))
        else:
            return value
