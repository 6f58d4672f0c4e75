"""Finds links by the names that users write: the real name, else an alias or an alternative name."""

from abc import abstractmethod
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import TypeVar

from nodespan.kernel.links import KernelLink

T = TypeVar("T")


class NamedLinks(Mapping[int, KernelLink]):
    """Links by index that can be looked up by name."""

    @abstractmethod
    def real(self, name: str) -> KernelLink | None:
        """The link with this real name."""

    @abstractmethod
    def other(self, name: str) -> KernelLink | None:
        """The link with this alias or alternative name; of several, the oldest."""

    @abstractmethod
    def vlans(self, index: int) -> tuple[KernelLink, ...]:
        """The VLANs on the link of this index, oldest first."""


class LinkTable(NamedLinks):
    """Links by index and by all their names, updated link by link."""

    def __init__(self, links: Mapping[int, KernelLink] | None = None) -> None:
        self._links: dict[int, KernelLink] = {}
        self._real: dict[str, KernelLink] = {}
        self._others: defaultdict[str, set[int]] = defaultdict(set)
        self._members: defaultdict[int, set[int]] = defaultdict(set)
        self._vlans: defaultdict[int, set[int]] = defaultdict(set)
        for index, link in (links or {}).items():
            self.set(index, link)

    def set(self, index: int, link: KernelLink | None) -> frozenset[str]:
        """Set the link of this index, None removes it; returns all names that it had or has."""
        before = self._links.pop(index, None)
        names: set[str] = set()
        if before is not None:
            names.update(_names(before))
            if self._real.get(before.name) is before:
                del self._real[before.name]
            for name in _other_names(before):
                _discard(self._others, name, index)
            _discard(self._members, before.status.master_index, index)
            _discard(self._vlans, before.status.link_index, index)
        if link is not None:
            names.update(_names(link))
            self._links[index] = link
            self._real[link.name] = link
            for name in _other_names(link):
                self._others[name].add(index)
            if link.status.master_index:
                self._members[link.status.master_index].add(index)
            if link.status.vlan is not None and not link.parent_is_elsewhere:
                self._vlans[link.status.link_index].add(index)
        return frozenset(names)

    def copy(self) -> "LinkTable":
        """The same links, apart."""
        twin = LinkTable()
        twin._links = dict(self._links)
        twin._real = dict(self._real)
        twin._others.update((name, set(indexes)) for name, indexes in self._others.items())
        twin._members.update((index, set(members)) for index, members in self._members.items())
        twin._vlans.update((index, set(vlans)) for index, vlans in self._vlans.items())
        return twin

    def members(self, index: int) -> tuple[KernelLink, ...]:
        """The links whose master has this index, oldest first."""
        return tuple(self._links[member] for member in sorted(self._members.get(index, ())))

    def vlans(self, index: int) -> tuple[KernelLink, ...]:
        """The VLANs on the link of this index, oldest first."""
        return tuple(self._links[vlan] for vlan in sorted(self._vlans.get(index, ())))

    def real(self, name: str) -> KernelLink | None:
        """The link with this real name."""
        return self._real.get(name)

    def other(self, name: str) -> KernelLink | None:
        """The link with this alias or alternative name; of several, the oldest."""
        indexes = self._others.get(name)
        return self._links[min(indexes)] if indexes else None

    def __getitem__(self, index: int) -> KernelLink:
        return self._links[index]

    def __iter__(self) -> Iterator[int]:
        return iter(self._links)

    def __len__(self) -> int:
        return len(self._links)


class LinkLookup:
    """A snapshot of links by all their names. A real name wins over the alias of another link."""

    def __init__(self, links: Mapping[int, KernelLink]) -> None:
        self._links = links if isinstance(links, NamedLinks) else LinkTable(links)

    def real(self, name: str) -> KernelLink | None:
        """The link with this real name."""
        return self._links.real(name)

    def find(self, name: str) -> KernelLink | None:
        """The link with this name of any kind."""
        return self._links.real(name) or self._links.other(name)

    def vlans(self, index: int) -> tuple[KernelLink, ...]:
        """The VLANs on the link of this index."""
        return self._links.vlans(index)

    def at(self, index: int) -> KernelLink | None:
        """The link of this index."""
        return self._links.get(index)


def _names(link: KernelLink) -> Iterator[str]:
    yield link.name
    yield from _other_names(link)


def _other_names(link: KernelLink) -> Iterator[str]:
    if link.status.alias:
        yield link.status.alias
    yield from link.status.alt_names


def _discard(index: defaultdict[T, set[int]], key: T, member: int) -> None:
    members = index.get(key, set())
    members.discard(member)
    if not members:
        index.pop(key, None)
