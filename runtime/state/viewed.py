"""What states with local views have in common: reads and watches are those of the collections that they feed."""

from collections.abc import Iterable
from typing import Any

from nodespan.runtime.resource import EVERYTHING, Filter, Kind, KindLike, kind_of
from nodespan.runtime.state.base import State
from nodespan.runtime.state.collection import Collection, Collections
from nodespan.runtime.state.events import Event, Watch
from nodespan.runtime.state.watching import AggregatedWatch, KindWatch, OneWatch


class ViewedState(State):
    """A state whose contents are collections in memory; what is left to a subclass are the writes."""

    def __init__(self, collections: Collections) -> None:
        self._collections = collections

    def view(self, kind: KindLike[Any]) -> Collection:
        return self._collections[kind_of(kind)]

    def kinds(self) -> Iterable[Kind[Any]]:
        return self._collections.kinds()

    def watch(
        self, kind: KindLike[Any], id: str, *, tail_events: int = 0, start_from: bytes | None = None
    ) -> Watch[Event]:
        return OneWatch(self.view(kind), id, tail_events, start_from)

    def watch_kind_aggregated(
        self,
        kind: KindLike[Any],
        *,
        bootstrap_contents: bool = False,
        bootstrap_bookmark: bool = False,
        tail_events: int = 0,
        start_from: bytes | None = None,
        filter: Filter = EVERYTHING,
    ) -> AggregatedWatch:
        return AggregatedWatch(
            self.view(kind),
            filter,
            bootstrap_contents=bootstrap_contents,
            bootstrap_bookmark=bootstrap_bookmark,
            tail_events=tail_events,
            start_from=start_from,
        )

    def watch_kind(
        self,
        kind: KindLike[Any],
        *,
        bootstrap_contents: bool = False,
        bootstrap_bookmark: bool = False,
        tail_events: int = 0,
        start_from: bytes | None = None,
        filter: Filter = EVERYTHING,
    ) -> Watch[Event]:
        return KindWatch(
            self.view(kind),
            filter,
            bootstrap_contents=bootstrap_contents,
            bootstrap_bookmark=bootstrap_bookmark,
            tail_events=tail_events,
            start_from=start_from,
        )
