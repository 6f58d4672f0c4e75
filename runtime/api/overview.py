"""The status of the node for clients of the local socket: once, or again whenever one of its parts changed."""

import datetime
from collections.abc import AsyncGenerator, Callable
from contextlib import ExitStack
from typing import Any

import trio

from nodespan.runtime.controller import Logger
from nodespan.runtime.overview.report import make_report
from nodespan.runtime.overview.section import Section, load_sections
from nodespan.runtime.resource import Resource
from nodespan.runtime.state import State

# Changes within so many seconds are shown together.
_GATHER = 0.5


class StatusReports:
    """Packages are asked for their sections at the first request: an agent that nobody asks does not pay."""

    def __init__(
        self, state: State, log: Logger, *, version: str, load: Callable[[Logger], list[Section]] = load_sections
    ) -> None:
        self._state = state
        self._log = log
        self._version = version
        self._load = load
        self._sections: list[Section] | None = None

    def report(self, visible: State) -> dict[str, Any]:
        """The status now, from what a client may see."""
        now = datetime.datetime.now(datetime.UTC)
        return make_report(self._loaded(), visible, now, version=self._version, log=self._log)

    def _loaded(self) -> list[Section]:
        if self._sections is None:
            self._sections = self._load(self._log)
        return self._sections

    async def reports(self, visible: State, *, watch: bool) -> AsyncGenerator[dict[str, Any], None]:
        """The status now; with `watch` again after each change."""
        if not watch:
            yield {"status": self.report(visible)}
            return
        changed = trio.Event()

        def mark(_resource: Resource[Any], _destroyed: bool) -> None:
            changed.set()

        with ExitStack() as subscriptions:
            # Before the first report: its client may take long to receive it, and things change meanwhile.
            for type in {type.name: type for section in self._loaded() for type in section.inputs}.values():
                subscriptions.callback(self._state.view(type).subscribe(mark))
            yield {"status": self.report(visible)}
            while True:
                await changed.wait()
                await trio.sleep(_GATHER)
                changed = trio.Event()
                yield {"status": self.report(visible)}
