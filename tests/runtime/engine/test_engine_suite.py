"""The engine passes its conformance suite on the in-memory state, with and without a limit on writes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from nodespan.runtime.state import MemoryState, State
from nodespan.runtime.testing.engine_suite import EngineSuite


class _OnMemory(EngineSuite):
    @asynccontextmanager
    async def open_state(self) -> AsyncIterator[State]:
        yield MemoryState()


@pytest.mark.virtual_clock
class TestEngine(_OnMemory):
    """With what it has by default."""


@pytest.mark.virtual_clock
class TestEngineWithLimitedWrites(_OnMemory):
    """With 10 writes a second, 20 at once."""

    change_rate = 10.0
    change_burst = 20
