"""Taking over from an agent that was killed: what it applied is first put into effect again, then replaced.

Controllers undo what is no longer desired only if they know that it was. So a new process publishes the configurations
that its predecessor may have left traces of, one per turn, waits until the controllers have settled, and goes on to the
one that is to stay. Until then ConfigStatus says "taking over", and controllers change nothing in the kernel but undo.

    earlier texts on record ──next──▶ published, is_waiting ──settled──▶ next one ... ──▶ the files ──settled──▶ done
"""

from collections.abc import Awaitable, Callable
from typing import Final

import trio

from nodespan.controllers.config.files.in_effect import InEffect
from nodespan.runtime.controller import Logger

# In seconds: how long controllers may take until the next configuration comes, or the last one is forgotten.
_SETTLING: Final = 5.0
_FORGETTING: Final = 60.0


class Takeover:
    """`settled` waits, at most so many seconds, until no controller has work left, and returns whether that is so.

    The coroutines that wait are run beside the turns; each ends with `wake`, which asks for a turn.
    """

    def __init__(self, record: InEffect, settled: Callable[[float], Awaitable[bool]]) -> None:
        self._record = record
        self._settled = settled
        self._earlier: list[str] = []
        # The text, if any, that all others have made way for.
        self._sole: list[str | None] = []
        self._has_inherited = self._has_published = False
        self._is_active = self._is_waiting = False

    @property
    def is_active(self) -> bool:
        """Whether controllers may only undo."""
        return self._is_active

    @property
    def is_waiting(self) -> bool:
        """Whether an inherited configuration is in effect that controllers have not settled on: let turns pass."""
        return self._is_waiting

    @property
    def is_only_inherited(self) -> bool:
        """Whether nothing but inherited configurations has been published by this process."""
        return self._has_inherited and not self._has_published

    @property
    def leftovers(self) -> tuple[str | None, ...]:
        """All texts that may have left traces, the latest last."""
        return self._record.texts

    async def load(self, log: Logger) -> None:
        """Read the record of an earlier process."""
        try:
            await trio.to_thread.run_sync(self._record.load)
        except (ValueError, OSError) as error:
            log.warning("the configuration that was in effect before is not known", error=str(error))
        self._earlier = [text for text in self._record.texts if text is not None]

    def restart(self) -> None:
        """The controller was restarted: the tasks that waited for it are gone."""
        self._is_waiting = False

    @property
    def has_earlier(self) -> bool:
        """Whether a text of an earlier process is still to be taken over."""
        return bool(self._earlier)

    def pop_earlier(self) -> str:
        """The next text to take over."""
        return self._earlier.pop(0)

    def begin(self) -> None:
        """An earlier text is about to be published."""
        self._is_active = self._has_inherited = self._is_waiting = True

    async def wait_for_next(self, wake: Callable[[], None]) -> None:
        """Wait until controllers have settled on an inherited configuration."""
        await self._settled(_SETTLING)
        self._is_waiting = False
        wake()

    async def wait_for_end(self, wake: Callable[[], None]) -> None:
        """Wait until controllers have settled on the configuration that is to stay."""
        await self._settled(_SETTLING)
        self._is_active = False
        wake()

    async def wait_to_forget(self, text: str | None, wake: Callable[[], None]) -> None:
        """Wait until only this text has traces; the next turn notes that."""
        if await self._settled(_FORGETTING):
            self._sole = [text]
            wake()

    async def note_settled(self, log: Logger) -> None:
        """Record what `wait_to_forget` has found."""
        while self._sole:
            await self._note(self._record.settle, self._sole[0], log)
            self._sole.pop(0)

    async def note_publishing(self, text: str | None, log: Logger) -> None:
        """Record a text before it takes effect, None for no configuration."""
        await self._note(self._record.begin, text, log)
        self._has_published |= text is not None

    async def forget(self) -> None:
        """Record that no text has traces. Raises OSError."""
        await trio.to_thread.run_sync(self._record.forget)

    async def _note(self, note: Callable[[str | None], None], text: str | None, log: Logger) -> None:
        try:
            await trio.to_thread.run_sync(note, text)
        except OSError as error:
            log.warning("what is in effect cannot be recorded for a later agent to take over", error=str(error))
