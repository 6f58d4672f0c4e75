"""The status of the node for clients of the local socket: once, or again whenever one of its parts changed."""

import datetime
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import ExitStack
from typing import Any

import trio

from nodespan.runtime.controller import Logger
from nodespan.runtime.overview.report import make_report
from nodespan.runtime.overview.section import Section, load_sections
from nodespan.runtime.resource import Resource
from nodespan.runtime.state import State

Load = Callable[[Logger], Awaitable[list[Section]]]
# Changes within so many seconds are shown together.
_GATHER = 0.5


async def load_in_thread(log: Logger) -> list[Section]:
    """The sections of all installed packages, which are imported off the event loop."""
    return await trio.to_thread.run_sync(load_sections, log)


class StatusReports:
    """Packages are asked for their sections at the first request: an agent that nobody asks does not pay."""

    def __init__(self, state: State, log: Logger, *, version: str, load: Load = load_in_thread) -> None:
        self._state = state
        self._log = log
        self._version = version
        self._load = load
        self._sections: list[Section] | None = None

    def _report(self, sections: list[Section], visible: State) -> dict[str, Any]:
        now = datetime.datetime.now(datetime.UTC)
        return {"status": make_report(sections, visible, now, version=self._version, log=self._log)}

    async def _loaded(self) -> list[Section]:
        if self._sections is None:
            self._sections = await self._load(self._log)
        return self._sections

    async def reports(self, visible: State, *, watch: bool) -> AsyncGenerator[dict[str, Any], None]:
        """The status now, from what a client may see; with `watch` again after each change."""
        sections = await self._loaded()
        if not watch:
            yield self._report(sections, visible)
            return
        changed = trio.Event()

        def mark(_resource: Resource[Any], _before: Resource[Any] | None, _destroyed: bool) -> None:
            changed.set()

        with ExitStack() as subscriptions:
            # Before the first report: its client may take long to receive it, and things change meanwhile.
            for type in {type.name: type for section in sections for type in section.inputs}.values():
                subscriptions.callback(self._state.view(type).subscribe(mark))
            yield self._report(sections, visible)
            while True:
                await changed.wait()
                await trio.sleep(_GATHER)
                changed = trio.Event()
                yield self._report(sections, visible)
