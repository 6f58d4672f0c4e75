"""The kernel's routes by place, which is what a route competes for.

The kernel takes one route per destination, table and metric, also to the destinations that each link has for itself.
The mirror keeps those apart by link, for they are as many as there are links (`RouteKey`). Here they are found
together, and put together only when they are asked for.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

from nodespan.kernel.routes import KernelRoute, RouteKey
from nodespan.kernel.rtnetlink import is_foreign_port
from nodespan.kernel.shared_mirror import MirrorView

_Routes = tuple[KernelRoute, ...]


class RoutePlaces:
    """A mirror's view of the routes with places as its keys; otherwise as the view that it is made of."""

    def __init__(self, view: MirrorView[RouteKey, _Routes]) -> None:
        self._view = view
        # The keys of links in each place that has any, and the one of the last change there.
        self._keys: defaultdict[RouteKey, set[RouteKey]] = defaultdict(set)
        self._last: dict[RouteKey, RouteKey] = {}

    @property
    def items(self) -> Mapping[RouteKey, _Routes]:
        """The routes."""
        return _ByPlace(self._view.items, self._keys)

    @property
    def is_certain(self) -> bool:
        """Whether the mirror is correct as of the last notification processed; if not, a dump is due."""
        return self._view.is_certain

    def changed_by(self, place: RouteKey) -> int:
        """The netlink port over which a route of the place was last changed, 0 if that is not known."""
        return self._view.changed_by(self._last.get(place, place))

    def take(self) -> frozenset[RouteKey]:
        """The places of all routes that appeared, changed, or went since the last call; at first, all."""
        places: set[RouteKey] = set()
        for key in self._view.take():
            place = key.place
            if key.link:
                self._note(place, key, is_first=place not in places)
            else:
                self._last.pop(place, None)
            places.add(place)
        return frozenset(places)

    def _note(self, place: RouteKey, key: RouteKey, *, is_first: bool) -> None:
        if key in self._view.items:
            self._keys[place].add(key)
        else:
            self._keys[place].discard(key)
            if not self._keys[place]:
                del self._keys[place]
        # Of several changes that came together, one of another program.
        if is_first or is_foreign_port(self._view.changed_by(key)):
            self._last[place] = key

    async def catch_up(self) -> None:
        """Process the notifications that have arrived."""
        await self._view.catch_up()

    async def resync(self) -> None:
        """List everything again."""
        await self._view.resync()


class _ByPlace(Mapping[RouteKey, _Routes]):
    def __init__(self, routes: Mapping[RouteKey, _Routes], keys: Mapping[RouteKey, set[RouteKey]]) -> None:
        self._routes = routes
        self._keys = keys

    def get(self, place: RouteKey, default: Any = None) -> Any:
        """The routes of a place, those without a link of their own first."""
        keys = self._keys.get(place)
        if keys is None:
            return self._routes.get(place, default)
        ordered = (place, *sorted(keys, key=lambda key: key.link))
        return tuple(chain.from_iterable(self._routes.get(key, ()) for key in ordered)) or default

    def __getitem__(self, place: RouteKey) -> _Routes:
        found: _Routes | None = self.get(place)
        if found is None:
            raise KeyError(place)
        return found

    def __iter__(self) -> Iterator[RouteKey]:
        return iter({key.place for key in self._routes})

    def __len__(self) -> int:
        return len({key.place for key in self._routes})
