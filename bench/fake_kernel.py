"""A kernel's links, addresses and routes in memory: takes the same messages, and notifies changes at once."""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Generic, TypeVar

import attrs
import trio

from nodespan.kernel import rtnl
from nodespan.kernel.addresses import Addresses
from nodespan.kernel.links import KernelLink, Links, read_link
from nodespan.kernel.mirror import Effect, ObjectKind
from nodespan.kernel.routes import Routes
from nodespan.kernel.rtnetlink import Message, Request, members
from nodespan.resources.network import LinkFlags, LinkStatusSpec

K = TypeVar("K")
V = TypeVar("V")

_IFNAME = 3
_MTU = 4
_KINDS: Mapping[int, type[ObjectKind[Any, Any]]] = {
    rtnl.RTM_NEWADDR: Addresses,
    rtnl.RTM_DELADDR: Addresses,
    rtnl.RTM_NEWROUTE: Routes,
    rtnl.RTM_DELROUTE: Routes,
}


class FakeMirror(Generic[K, V]):
    """A controller's view of one kind: always current, because each change notifies it."""

    is_certain = True

    def __init__(self, items: dict[K, V], on_change: Callable[[], None]) -> None:
        self.items: Mapping[K, V] = items
        self._on_change = on_change
        self._touched: set[K] = set(items)

    def tell(self, keys: Iterable[K]) -> None:
        """These changed."""
        self._touched.update(keys)
        self._on_change()

    def changed_by(self, _key: K) -> int:
        """No other program changes anything here."""
        return 0

    def take(self) -> frozenset[K]:
        """The changes since the last call."""
        touched = frozenset(self._touched)
        self._touched.clear()
        return touched

    async def catch_up(self) -> None:
        """Nothing is ever behind."""
        await trio.lowlevel.checkpoint()

    async def look(self, keys: Iterable[K]) -> None:
        """Nothing is ever hidden."""

    async def resync(self) -> None:
        """Nothing is ever lost."""


class FakeKernel:
    """Network cards that exist from the start, with their addresses and routes."""

    netns = None

    def __init__(self, cards: Iterable[str]) -> None:
        self.writes = 0
        self._items: dict[type[ObjectKind[Any, Any]], dict[Any, Any]] = {
            Links: {
                index: read_link(_message(KernelLink(name=name, status=LinkStatusSpec(index=index, mtu=1500))))
                for index, name in enumerate(cards, start=1)
            },
            Addresses: {},
            Routes: {},
        }
        self._mirrors: dict[type[ObjectKind[Any, Any]], list[FakeMirror[Any, Any]]] = {kind: [] for kind in self._items}

    def count(self, kind: type[ObjectKind[Any, Any]]) -> int:
        """The number of objects of a kind."""
        return len(self._items[kind])

    @asynccontextmanager
    async def mirror(
        self,
        kind: ObjectKind[K, V],
        on_change: Callable[[], None],
        aspect: object = None,  # noqa: ARG002
    ) -> AsyncIterator[FakeMirror[K, V]]:
        """A mirror of one kind, until the block ends."""
        mirror: FakeMirror[K, V] = FakeMirror(self._items[type(kind)], on_change)
        self._mirrors[type(kind)].append(mirror)
        try:
            yield mirror
        finally:
            self._mirrors[type(kind)].remove(mirror)

    @contextmanager
    def open(self) -> Iterator["FakeKernel"]:
        """A connection."""
        yield self

    def change(self, type: int, flags: int, fields: tuple[int, ...], *attributes: bytes) -> None:
        """Apply a message, from a worker thread."""
        self.writes += 1
        message = Message(type, flags, fields, dict(members(b"".join(attributes))))
        if type == rtnl.RTM_NEWLINK:
            self._change_link(message)
        else:
            kind = _KINDS[type]
            self._apply(kind, kind().fold(self._items[kind], message))

    def request(self, request: Request) -> None:
        """One change."""
        self.change(request.type, request.flags, request.fields, *request.attributes)

    def request_all(self, requests: Sequence[Request]) -> dict[int, OSError]:
        """Several; none is refused."""
        for request in requests:
            self.request(request)
        return {}

    def link(self, index: int = 0, *, name: str = "") -> Message | None:
        """One link; only by index, because links are not created here."""
        assert not name
        return _message(self._items[Links][index])

    def _change_link(self, message: Message) -> None:
        _, _, index, bits, mask = message.fields
        link: KernelLink = self._items[Links][index]
        status = attrs.evolve(link.status, flags=LinkFlags((link.status.flags & ~mask) | (bits & mask)))
        if _MTU in message.attributes:
            status = attrs.evolve(status, mtu=int.from_bytes(message.attributes[_MTU], "little"))
        self._apply(Links, Effect(changes={index: attrs.evolve(link, status=status)}))

    def _apply(self, kind: type[ObjectKind[Any, Any]], effect: Effect[Any, Any]) -> None:
        items = self._items[kind]
        for key, value in effect.changes.items():
            if value is None:
                del items[key]
            else:
                items[key] = value
        trio.from_thread.run_sync(self._tell, kind, tuple(effect.changes))

    def _tell(self, kind: type[ObjectKind[Any, Any]], keys: Iterable[Any]) -> None:
        for mirror in self._mirrors[kind]:
            mirror.tell(keys)


def _message(link: KernelLink) -> Message:
    """A link's message, with the fields that can change here."""
    status = link.status
    attributes = {_IFNAME: link.name.encode() + b"\0", _MTU: status.mtu.to_bytes(4, "little")}
    return Message(rtnl.RTM_NEWLINK, 0, (0, status.type.number, status.index, int(status.flags), 0), attributes)
