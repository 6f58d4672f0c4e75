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
        # The keys of links, by destination.
        self._keys: defaultdict[str, set[RouteKey]] = defaultdict(set)
        # By destination: the places that were asked for, and the key of the last change in each.
        self._asked: defaultdict[str, dict[RouteKey, RouteKey | None]] = defaultdict(dict)

    @property
    def items(self) -> Mapping[RouteKey, _Routes]:
        """The routes."""
        return _ByPlace(self._view.items, self._keys, self._asked)

    @property
    def is_certain(self) -> bool:
        """Whether the mirror is correct as of the last notification processed; if not, a dump is due."""
        return self._view.is_certain

    def changed_by(self, place: RouteKey) -> int:
        """The netlink port over which a route of the place was last changed, 0 if that is not known."""
        last = self._asked[place.dst].get(place) if place.dst in self._asked else None
        return self._view.changed_by(place if last is None else last)

    def take(self) -> frozenset[RouteKey]:
        """The places of the routes that appeared, changed, or went since the last call; at first, of all.

        Of places that links have for themselves only those that were asked for: thousands of links may come at once.
        """
        taken = self._view.take()
        places = {key for key in taken if not key.link}
        for key in taken:
            if key.link:
                self._note(key)
            if key.dst in self._asked:
                self._note_place(key, places)
        return frozenset(places)

    def _note(self, key: RouteKey) -> None:
        if key in self._view.items:
            self._keys[key.dst].add(key)
            return
        keys = self._keys[key.dst]
        keys.discard(key)
        if not keys:
            del self._keys[key.dst]

    def _note_place(self, key: RouteKey, places: set[RouteKey]) -> None:
        asked, place = self._asked[key.dst], key.place
        if place not in asked:
            return
        # Of several changes that came together, one of another program.
        if place not in places or not key.link or is_foreign_port(self._view.changed_by(key)):
            asked[place] = key
        places.add(place)

    async def catch_up(self) -> None:
        """Process the notifications that have arrived."""
        await self._view.catch_up()

    async def resync(self) -> None:
        """List everything again."""
        await self._view.resync()


class _ByPlace(Mapping[RouteKey, _Routes]):
    def __init__(
        self,
        routes: Mapping[RouteKey, _Routes],
        keys: Mapping[str, set[RouteKey]],
        asked: defaultdict[str, dict[RouteKey, RouteKey | None]],
    ) -> None:
        self._routes = routes
        self._keys = keys
        self._asked = asked

    def get(self, place: RouteKey, default: Any = None) -> Any:
        """The routes of a place, those without a link of their own first."""
        if not place.is_of_each_link:
            return self._routes.get(place, default)
        self._asked[place.dst].setdefault(place)
        keys = [key for key in self._keys.get(place.dst, ()) if key.place == place]
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
