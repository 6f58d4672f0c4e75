"""The state as it changes, for many readers: one watch for each kind, however many read it.

A feed follows one kind and keeps, for each resource, the text that readers get. A reader keeps marks, not history:
which resources it has not been sent since they changed. A burst of changes, or a reader that is slow, costs a mark for
each resource and no more, and what it gets is the present. (ADR 0002 has the same for controllers.)

What readers get are server-sent events, with JSON in them. `n` is the position of a kind in the reader's list:

    kind     {"n", "definition", "outage"}         the contents of the kind follow, from the beginning
    changes  {"n", "set": [resource], "gone": [id]}
    ready    {"n"}                                 all that is there was sent
    failed   {"n", "code", "message"}              the kind cannot be read
    link     {"n", "up": bool}                     whether the agent answers; what was sent stays true as of then

A kind has one name here: its full type, and no namespace where it is that of the type. Under each of its aliases it
would be another feed, with a watch of its own.

The spec of a sensitive resource never leaves the process: readers get null for it.
"""

import itertools
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, Final

import attrs
import trio

from nodespan.runtime.api import protocol
from nodespan.runtime.api.browser.door import Rights
from nodespan.runtime.api.local_client import AgentGoneError, RefusedRequestError, asking
from nodespan.runtime.api.pages import Send

# In seconds.
_RECONNECT: Final = 0.3
_HEARTBEAT: Final = 20.0
# Changes within this time are sent together.
_TOGETHER: Final = 0.05
# How many resources one event may hold, and about how much is made and sent as a whole: a client on a slow link has a
# time for each piece.
_MOST_AT_ONCE: Final = 250
_MOST_BYTES: Final = 64 << 10
MOST_READERS: Final = 64
MOST_KINDS: Final = 32
# Each is a connection to the agent, and a watch there.
MOST_FEEDS: Final = 256


@attrs.frozen
class Topic:
    """What is followed: a type by its full name, a namespace ("" for that of the type), with which rights."""

    type: str
    namespace: str
    rights: Rights


def request_for(rights: Rights, **request: Any) -> dict[str, Any]:
    """A request to the agent with a client's rights, not with those of this process."""
    return request | ({"as": protocol.READER} if rights is Rights.READER else {})


@attrs.define(eq=False)
class _Marks:
    """What a reader was not sent of a feed."""

    number: int
    kind: bool = True
    link: bool = True
    ready: bool = True
    ids: dict[str, None] = attrs.field(factory=dict)

    def forget(self) -> None:
        """Nothing was sent."""
        self.kind = self.ready = True

    def has_news(self, feed: "Feed") -> bool:
        """Whether there is anything to send."""
        if self.link:
            return True
        if feed.failure:
            return self.ready
        return feed.head is not None and (self.kind or bool(self.ids) or (self.ready and feed.is_complete))


class Feed:
    """One kind as it is now, followed for as long as it has readers."""

    def __init__(self, socket: str, topic: Topic) -> None:
        self._socket = socket
        self._topic = topic
        self.head: str | None = None
        # The text of each resource, which is all that is kept of it.
        self.items: dict[str, str] = {}
        self.is_complete = False
        self.is_up = True
        self.failure: dict[str, str] | None = None
        self.readers: dict[Reader, _Marks] = {}
        self.scope = trio.CancelScope()

    async def follow(self) -> None:
        """Follow the agent, through its restarts, until cancelled or the agent refuses."""
        request = request_for(
            self._topic.rights,
            call="get",
            type=self._topic.type,
            namespace=self._topic.namespace,
            id=None,
            selectors=[],
            watch=True,
            form="data",
        )
        with self.scope:
            while True:
                try:
                    async with asking(self._socket, request) as answers:
                        await self._read(answers)
                except AgentGoneError:
                    self._set_up(is_up=False)
                    await trio.sleep(_RECONNECT)
                except RefusedRequestError as error:
                    if error.code == protocol.OVERRUN:
                        continue
                    self.refuse(error)
                    return

    async def _read(self, answers: AsyncIterator[dict[str, Any]]) -> None:
        """One watch, to its end. What was there before and is not any more is gone once its contents are complete."""
        stale: dict[str, str] | None = None
        is_sensitive = False
        async for answer in answers:
            if "definition" in answer:
                self._check_name(answer["definition"])
                is_sensitive = bool(answer["definition"].get("sensitivity"))
                stale = dict(self.items)
                head = _text({"definition": answer["definition"], "outage": answer.get("outage")})
                if head != self.head:
                    self.head = head
                    self._mark_kind()
                self._set_up(is_up=True)
            elif answer["event"] == protocol.BOOTSTRAPPED:
                for id in stale or ():
                    del self.items[id]
                    self._mark(id)
                stale = None
                self.is_complete = True
                for reader in self.readers:
                    reader.wake()
            else:
                id = answer["resource"]["metadata"]["id"]
                if stale is not None:
                    stale.pop(id, None)
                self._take(answer, id, is_sensitive=is_sensitive)

    def _check_name(self, definition: dict[str, Any]) -> None:
        """Raise RefusedRequestError unless the topic is called as it is here."""
        if self._topic.type != definition["type"]:
            raise RefusedRequestError(protocol.INVALID, f"the type is called {definition['type']} here")
        if self._topic.namespace == definition["defaultNamespace"]:
            raise RefusedRequestError(
                protocol.INVALID, f"{self._topic.namespace} is the namespace of the type: leave it out"
            )

    def _take(self, answer: dict[str, Any], id: str, *, is_sensitive: bool) -> None:
        if answer["event"] == protocol.DESTROYED:
            if self.items.pop(id, None) is None:
                return
        else:
            resource = answer["resource"]
            text = _text({"metadata": resource["metadata"], "spec": None} if is_sensitive else resource)
            if self.items.get(id) == text:
                return
            self.items[id] = text
        self._mark(id)

    def _mark(self, id: str) -> None:
        for reader, marks in self.readers.items():
            marks.ids[id] = None
            reader.wake()

    def _mark_kind(self) -> None:
        for reader, marks in self.readers.items():
            marks.forget()
            marks.ids = dict.fromkeys(self.items)
            reader.wake()

    def _set_up(self, *, is_up: bool) -> None:
        if self.is_up is not is_up:
            self.is_up = is_up
            for reader, marks in self.readers.items():
                marks.link = True
                reader.wake()

    def refuse(self, error: RefusedRequestError) -> None:
        """The kind cannot be read, and readers are told why."""
        self.failure = {"code": error.code, "message": str(error)}
        for reader, marks in self.readers.items():
            marks.ready = True
            reader.wake()


class Reader:
    """One client that follows several kinds."""

    def __init__(self) -> None:
        self.feeds: dict[Feed, _Marks] = {}
        self._lot = trio.lowlevel.ParkingLot()

    def wake(self) -> None:
        """There is something to send."""
        self._lot.unpark_all()

    async def wait(self) -> None:
        """Until there is something to send; always a checkpoint."""
        await trio.lowlevel.checkpoint()
        while not any(marks.has_news(feed) for feed, marks in self.feeds.items()):
            await self._lot.park()

    def take(self) -> str:
        """Events with what the client was not sent, up to a size; what is left is for the next time."""
        texts: list[str] = []
        size = 0
        for feed in tuple(self.feeds):
            # After its turn a kind stands behind those that have not had one: it may change all the time.
            marks = self.feeds[feed] = self.feeds.pop(feed)
            for text in _news(feed, marks, _MOST_BYTES - size):
                texts.append(text)
                size += len(text)
            if size >= _MOST_BYTES:
                break
        return "".join(texts)

    async def send(self, send: Send) -> None:
        """Send what is new, and then what changes, until cancelled."""
        await send(b"retry: 1000\n\n")
        while True:
            with trio.move_on_after(_HEARTBEAT):
                await self.wait()
            text = self.take()
            await send((text or ": nothing new\n\n").encode())
            if len(text) < _MOST_BYTES:
                await trio.sleep(_TOGETHER)


def _news(feed: Feed, marks: _Marks, most: int) -> Iterator[str]:
    """Events with what was not sent of a feed, of about so many bytes, or of one resource."""
    number = marks.number
    if marks.link:
        marks.link = False
        yield _event("link", _text({"n": number, "up": feed.is_up}))
    if feed.failure:
        if marks.ready:
            marks.ready = False
            yield _event("failed", _text({"n": number, **feed.failure}))
        return
    if feed.head is None:
        return
    if marks.kind:
        marks.kind = False
        yield _event("kind", f'{{"n":{number},{feed.head[1:]}')
    if marks.ids:
        taken: list[str] = []
        for id in itertools.islice(marks.ids, _MOST_AT_ONCE):
            taken.append(id)
            most -= len(feed.items.get(id, id))
            if most <= 0:
                break
        for id in taken:
            del marks.ids[id]
        here = ",".join(feed.items[id] for id in taken if id in feed.items)
        gone = _text([id for id in taken if id not in feed.items])
        yield _event("changes", f'{{"n":{number},"set":[{here}],"gone":{gone}}}')
    if marks.ready and not marks.ids and feed.is_complete:
        marks.ready = False
        yield _event("ready", _text({"n": number}))


class Feeds:
    """The feeds that have readers."""

    def __init__(self, socket: str, nursery: trio.Nursery) -> None:
        self._socket = socket
        self._nursery = nursery
        self._feeds: dict[Topic, Feed] = {}
        self._readers = 0

    @property
    def topics(self) -> tuple[Topic, ...]:
        """What is followed."""
        return tuple(self._feeds)

    def reserve(self) -> Callable[[], None] | None:
        """Keep a place for a reader; returns what gives it back, None if there are as many as there should be."""
        if self._readers >= MOST_READERS:
            return None
        self._readers += 1
        return self._give_back

    def _give_back(self) -> None:
        self._readers -= 1

    @asynccontextmanager
    async def reader(self, topics: list[Topic]) -> AsyncIterator[Reader]:
        """A reader of these kinds, whose positions are those in the list without repetitions."""
        reader = Reader()
        joined = dict.fromkeys(topics)
        try:
            for number, topic in enumerate(joined):
                self._join(topic, reader, number)
            yield reader
        finally:
            for topic in joined:
                self._leave(topic, reader)

    def _join(self, topic: Topic, reader: Reader, number: int) -> None:
        feed = self._feeds.get(topic)
        if feed is None:
            feed = Feed(self._socket, topic)
            if sum(each.failure is None for each in self._feeds.values()) < MOST_FEEDS:
                self._feeds[topic] = feed
                self._nursery.start_soon(feed.follow)
            else:
                # Of this reader only: the next one may find room.
                feed.refuse(RefusedRequestError(protocol.DENIED, f"{MOST_FEEDS} kinds are followed already"))
        feed.readers[reader] = reader.feeds[feed] = _Marks(number, ids=dict.fromkeys(feed.items))

    def _leave(self, topic: Topic, reader: Reader) -> None:
        feed = self._feeds.get(topic)
        if feed is None or feed.readers.pop(reader, None) is None:
            return  # it was refused
        if not feed.readers:
            feed.scope.cancel()
            del self._feeds[topic]


@asynccontextmanager
async def open_feeds(socket: str) -> AsyncIterator[Feeds]:
    """Feeds of the agent at a socket, for as long as the block lasts."""
    async with trio.open_nursery() as nursery:
        yield Feeds(socket, nursery)
        nursery.cancel_scope.cancel()


def _text(value: object) -> str:
    # ASCII, because names from the kernel may hold bytes that are not text, which UTF-8 cannot express.
    return json.dumps(value, separators=(",", ":"))


def _event(name: str, data: str) -> str:
    return f"event: {name}\ndata: {data}\n\n"
