"""The in-memory state passes the conformance suite, whatever the size of its history."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from nodespan.runtime.state import MemoryState, State
from nodespan.runtime.testing.state_suite import StateSuite


class TestMemoryState(StateSuite):
    """With the history it has by default."""

    @asynccontextmanager
    async def open_state(self) -> AsyncIterator[State]:
        yield MemoryState()


class TestMemoryStateWithGrowingHistory(StateSuite):
    """With one that grows while the tests run."""

    @asynccontextmanager
    async def open_state(self) -> AsyncIterator[State]:
        yield MemoryState(initial_capacity=4, max_capacity=4095, gap=0)


class TestMemoryStateWithShortHistory(StateSuite):
    """With one so short that tests overwrite it, in a state that all of them share."""

    state = MemoryState(initial_capacity=12, max_capacity=12, gap=2)

    @asynccontextmanager
    async def open_state(self) -> AsyncIterator[State]:
        yield self.state
