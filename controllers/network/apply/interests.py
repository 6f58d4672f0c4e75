"""Dependency tracking for specs: a change is brought to the specs that it may concern, and to no others.

What a rule looks at while it decides on a spec is noted by the mappings that it is given. So dependencies are not
declared, and none can be missed.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

from nodespan.kernel.link_lookup import NamedLinks
from nodespan.kernel.links import KernelLink

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


# Tuples, for they are made and looked up with every decision. A name is never equal to an index.
class LinkNamed(NamedTuple):
    """The link with this name, whether or not it exists."""

    name: str


class LinkAtIndex(NamedTuple):
    """The link of this index."""

    at: int


class Interests:
    """The topics that ids depend on, in both directions."""

    def __init__(self) -> None:
        self._topics: dict[str, frozenset[Hashable]] = {}
        self._ids: defaultdict[Hashable, set[str]] = defaultdict(set)

    def note(self, id: str, topics: Iterable[Hashable]) -> None:
        """Set the topics of this id; none forgets it."""
        after = frozenset(topics)
        before = self._topics.get(id, frozenset())
        if after == before:
            return
        self._topics.pop(id, None)
        if after:
            self._topics[id] = after
        for topic in before - after:
            ids = self._ids[topic]
            ids.discard(id)
            if not ids:
                del self._ids[topic]
        for topic in after - before:
            self._ids[topic].add(id)

    def topics(self, id: str) -> frozenset[Hashable]:
        """What this id depends on."""
        return self._topics.get(id, frozenset())

    def of(self, topics: Iterable[Hashable]) -> set[str]:
        """The ids that depend on any of these topics."""
        return {id for topic in topics for id in self._ids.get(topic, ())}


class NotedItems(Mapping[K, V]):
    """A mapping that notes which keys were asked for."""

    def __init__(self, items: Mapping[K, V], noted: set[Hashable]) -> None:
        self._items = items
        self._noted = noted

    def __getitem__(self, key: K) -> V:
        self._noted.add(key)
        return self._items[key]

    def get(self, key: K, default: Any = None) -> Any:
        # That of mappings raises an error, and catches it, for each object that is not there.
        self._noted.add(key)
        return self._items.get(key, default)

    def __iter__(self) -> Iterator[K]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)


class NotedLinks(NamedLinks):
    """Links that note which were asked for, by name and by index."""

    def __init__(self, links: NamedLinks, noted: set[Hashable]) -> None:
        self._links = links
        self._noted = noted

    def real(self, name: str) -> KernelLink | None:
        """The link of just this name."""
        self._noted.add(LinkNamed(name))
        return self._links.real(name)

    def other(self, name: str) -> KernelLink | None:
        """The link that has this alias or alternative name."""
        self._noted.add(LinkNamed(name))
        return self._links.other(name)

    def vlans(self, index: int) -> tuple[KernelLink, ...]:
        """The VLANs on a link."""
        found = self._links.vlans(index)
        self._noted.update(LinkAtIndex(vlan.status.index) for vlan in found)
        return found

    def __getitem__(self, index: int) -> KernelLink:
        self._noted.add(LinkAtIndex(index))
        return self._links[index]

    def __iter__(self) -> Iterator[int]:
        return iter(self._links)

    def __len__(self) -> int:
        return len(self._links)
