"""Keeps the machine configuration of the state equal to the file, as long as what the file says is right."""

from pathlib import Path

import trio

from controllers.config.finding import Severity
from controllers.config.loading import Loaded, read_and_load
from controllers.config.problem import render
from resources.config import MachineConfig
from runtime.controller import Controller, ControllerContext, destroy_ready, exclusive

CONFIG_ID = "v1alpha1"
_POLL_INTERVAL = 1.0

# What changes when a file is written or replaced; None for a file that is not there.
_Signature = tuple[int, ...] | None


class FileController(Controller):
    """Reads the file at start and whenever it changes, within a second.

    A file with mistakes, or none, leaves the configuration as it is: it says so, and keeps the last good one. When the
    node leaves, the configuration is taken away, and with it everything that was done for it.
    """

    name = "config.FileController"
    inputs = (destroy_ready(MachineConfig),)
    outputs = (exclusive(MachineConfig),)

    def __init__(self, path: Path, *, leaving: trio.Event | None = None) -> None:
        self._path = path
        self._leaving = trio.Event() if leaving is None else leaving
        self._signature: _Signature = None
        # What has been said already, for a restart of the controller is no reason to say it again.
        self._said: tuple[object, ...] = ()

    async def run(self, ctx: ControllerContext) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_file, ctx)
            nursery.start_soon(self._wait_to_leave, ctx)
            async for _ in ctx:
                if self._leaving.is_set():
                    await ctx.remove(MachineConfig, CONFIG_ID)
                    continue
                self._signature = _signature(self._path)
                loaded = await trio.to_thread.run_sync(read_and_load, self._path, abandon_on_cancel=True)
                self._report(ctx, loaded)
                if not loaded.errors:
                    await ctx.put(MachineConfig, CONFIG_ID, loaded.config)

    async def _wait_to_leave(self, ctx: ControllerContext) -> None:
        await self._leaving.wait()
        ctx.wake()

    async def _watch_file(self, ctx: ControllerContext) -> None:
        """Asks for a turn when the file is another than the one last read."""
        while True:
            await trio.sleep(_POLL_INTERVAL)
            if _signature(self._path) != self._signature:
                ctx.wake()

    def _report(self, ctx: ControllerContext, loaded: Loaded) -> None:
        said = (loaded.problems, loaded.ignored)
        if said == self._said:
            return
        self._said = said
        for problem in loaded.problems:
            tell = ctx.log.error if problem.severity is Severity.ERROR else ctx.log.warning
            tell(render(problem, loaded.config.text))
        if loaded.errors:
            has_config = ctx.find(MachineConfig, CONFIG_ID) is not None
            kept = "the last good one stays in effect" if has_config else "none is in effect"
            ctx.log.error(f"the configuration is not used: {kept}", file=str(self._path), errors=len(loaded.errors))
        elif loaded.ignored:
            parts = [f"{ignored.path} (line {ignored.line})" for ignored in loaded.ignored]
            ctx.log.info("these parts of the configuration are not nodespan's and are ignored", parts=parts)


def _signature(path: Path) -> _Signature:
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
