"""The State conformance suite itself: what it skips, and that a state which breaks a rule does not pass."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from nodespan.runtime.errors import UnsupportedError
from nodespan.runtime.resource import KindLike, LabelQuery, Resource
from nodespan.runtime.state import Event, MemoryState, State, Watch
from nodespan.runtime.testing.state_suite import StateSuite


class WithoutHistory(MemoryState):
    """Watches start now or not at all."""

    def watch(
        self, kind: KindLike[Any], id: str, *, tail_events: int = 0, start_from: bytes | None = None
    ) -> Watch[Event]:
        if tail_events or start_from is not None:
            raise UnsupportedError("no history is kept")
        return super().watch(kind, id)


class Unsorted(MemoryState):
    """Lists in the order in which resources were made."""

    def list(
        self, kind: KindLike[Any], *, labels: Iterable[LabelQuery] = (), id_query: str | None = None
    ) -> list[Resource[Any]]:
        found = super().list(kind, labels=labels, id_query=id_query)
        return sorted(found, key=lambda resource: resource.metadata.created)


class Suite(StateSuite):
    def __init__(self, state: State) -> None:
        self.state = state

    @asynccontextmanager
    async def open_state(self) -> AsyncIterator[State]:
        # As a state does that is kept elsewhere: its nursery wraps what is raised in a group.
        async with trio.open_nursery():
            yield self.state


async def test_a_feature_that_a_state_lacks_is_skipped_and_the_rest_is_not() -> None:
    suite = Suite(WithoutHistory())
    for optional in (suite.test_watch_with_tail_events, suite.test_watch_with_bookmarks):
        with pytest.raises(pytest.skip.Exception, match="lacks the feature"):
            await optional()
    await suite.test_watch()
    await suite.test_watch_kind_with_bookmarks()


async def test_a_state_that_breaks_a_rule_does_not_pass() -> None:
    with pytest.raises(ExceptionGroup) as failure:
        await Suite(Unsorted()).test_crd()
    assert failure.group_contains(AssertionError)


def test_every_test_says_what_it_demands() -> None:
    tests = [test for name, test in vars(StateSuite).items() if name.startswith("test_")]
    assert len(tests) == 24
    assert all(test.__doc__ for test in tests)
