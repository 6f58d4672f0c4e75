"""A discovery service in the same process and in virtual time, by which a client can be put to the test."""

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import trio

from nodespan.discovery.client import Connection, TransportError
from nodespan.discovery.endpoint_url import DialAddress
from nodespan.discovery.wire import server_pb2
from nodespan.resources.addresses import encode_address

DOWN = TransportError("UNAVAILABLE", "nobody listens")


@attrs.frozen
class Call:
    """A call that was received, and when."""

    at: float
    name: str
    request: object


@attrs.define(eq=False, slots=False)
class FakeService:
    """Stores what it is told and tells it to all who watch. Set the attributes to have it behave badly."""

    affiliates: dict[str, server_pb2.Affiliate] = attrs.field(factory=dict)
    calls: list[Call] = attrs.field(factory=list)
    dialled: list[tuple[DialAddress, float]] = attrs.field(factory=list)
    # Client addresses and redirects that the next hellos are answered with; the last one stays.
    client_ip: str = "192.0.2.7"
    redirects: deque[str] = attrs.field(factory=deque)
    # Errors that the next calls of these names end with.
    failures: dict[str, deque[TransportError]] = attrs.field(factory=dict)
    is_down: bool = False
    # Why, if that is known.
    cause: TransportError | None = None
    # Calls of these names are never answered.
    hangs: set[str] = attrs.field(factory=set)
    keepalive: float = 0.0
    watchers: set[trio.MemorySendChannel[server_pb2.WatchResponse]] = attrs.field(factory=set)

    @asynccontextmanager
    async def connect(self, target: DialAddress, *, keepalive: float) -> AsyncIterator[Connection]:
        await trio.lowlevel.checkpoint()
        self.dialled.append((target, trio.current_time()))
        self.keepalive = keepalive
        yield _Connection(self)

    def names(self) -> list[str]:
        """The names of all calls so far."""
        return [call.name for call in self.calls]

    def tell(self, message: server_pb2.WatchResponse) -> None:
        """Send a message to all who watch."""
        for watcher in self.watchers:
            watcher.send_nowait(message)

    def put(self, affiliate: server_pb2.Affiliate) -> None:
        """An affiliate is new or changed."""
        self.affiliates[affiliate.id] = affiliate
        self.tell(server_pb2.WatchResponse(affiliates=[affiliate]))

    def drop(self, id: str) -> None:
        """An affiliate is gone."""
        if self.affiliates.pop(id, None) is not None:
            self.tell(server_pb2.WatchResponse(affiliates=[server_pb2.Affiliate(id=id)], deleted=True))

    def stop(self) -> None:
        """Go down: watches end, calls fail."""
        self.is_down = True
        self.end_watches()

    def end_watches(self) -> None:
        """End all watches, as a restart does."""
        for watcher in self.watchers:
            watcher.close()
        self.watchers.clear()

    def update(self, request: server_pb2.AffiliateUpdateRequest) -> None:
        affiliate = server_pb2.Affiliate()
        affiliate.CopyFrom(self.affiliates.get(request.affiliate_id, server_pb2.Affiliate(id=request.affiliate_id)))
        if request.affiliate_data:
            affiliate.data = request.affiliate_data
        affiliate.endpoints.extend(blob for blob in request.affiliate_endpoints if blob not in affiliate.endpoints)
        if request.affiliate_data or affiliate != self.affiliates.get(affiliate.id):
            self.put(affiliate)

    async def call(self, name: str, request: object) -> None:
        await trio.lowlevel.checkpoint()
        self.calls.append(Call(trio.current_time(), name, request))
        if name in self.hangs:
            await trio.sleep_forever()
        if self.is_down:
            raise self.cause or DOWN
        if self.failures.get(name):
            raise self.failures[name].popleft()


@attrs.frozen(eq=False)
class _Connection:
    service: FakeService

    async def hello(self, request: server_pb2.HelloRequest) -> server_pb2.HelloResponse:
        await self.service.call("hello", request)
        response = server_pb2.HelloResponse(client_ip=encode_address(self.service.client_ip))
        if self.service.redirects:
            response.redirect.endpoint = self.service.redirects.popleft()
        return response

    async def update(self, request: server_pb2.AffiliateUpdateRequest) -> None:
        await self.service.call("update", request)
        self.service.update(request)

    async def delete(self, request: server_pb2.AffiliateDeleteRequest) -> None:
        await self.service.call("delete", request)
        self.service.drop(request.affiliate_id)

    @asynccontextmanager
    async def watch(self, request: server_pb2.WatchRequest) -> AsyncIterator[AsyncIterator[server_pb2.WatchResponse]]:
        await self.service.call("watch", request)
        send, receive = trio.open_memory_channel[server_pb2.WatchResponse](1000)
        send.send_nowait(server_pb2.WatchResponse(affiliates=self.service.affiliates.values()))
        self.service.watchers.add(send)
        try:
            yield receive
        finally:
            self.service.watchers.discard(send)
            send.close()
