"""A discovery service without a network: its handlers called directly, the wall clock in the test's hands."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import Any

import attrs
import trio
import trio.testing

from nodespan.discovery.service.client_address import Trust
from nodespan.discovery.service.cluster import Clusters
from nodespan.discovery.service.cluster_service import SERVICE, ClusterService
from nodespan.discovery.wire import server_pb2 as wire
from nodespan.runtime.api.grpc import Call, Peer
from nodespan.runtime.state import MemoryState, State

SECOND = 10**9
START = 1_700_000_000 * SECOND


class Watcher:
    """What a watcher was sent; close `gate` to have it read no more."""

    def __init__(self) -> None:
        self.gate = trio.Event()
        self.gate.set()
        self.messages: list[wire.WatchResponse] = []
        # How often a task sent something, and how often that was not needed.
        self.sent = self.offered = 0

    async def send(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        await self.gate.wait()
        self.sent += 1
        self._read(data)

    def offer(self, data: bytes) -> bool:
        if not self.gate.is_set():
            return False
        self.offered += 1
        self._read(data)
        return True

    def _read(self, data: bytes) -> None:
        while data:
            end = 5 + int.from_bytes(data[1:5], "big")
            self.messages.append(wire.WatchResponse.FromString(data[5:end]))
            data = data[end:]

    def take(self) -> list[wire.WatchResponse]:
        """What came since the last time."""
        taken, self.messages = self.messages, []
        return taken


@attrs.define
class House:
    """The service, and how to use it. `seconds` is the wall clock, counted from an arbitrary start."""

    service: ClusterService
    clusters: Clusters
    state: State
    nursery: trio.Nursery
    seconds: float = 0.0
    greeted: list[str] = attrs.field(factory=list)

    def now(self) -> int:
        return START + round(self.seconds * SECOND)

    async def call(
        self, name: str, request: Any, *, headers: tuple[tuple[str, str], ...] = (), outlet: Any = None
    ) -> Any:
        """Call a method. Raises RPCError."""
        method = self.service.methods()[f"/{SERVICE}/{name}"]
        call = Call(method, Peer(address=ip_address("192.0.2.1")), headers, float("inf"), outlet)
        return await method.handler(request, call)

    async def update(
        self,
        id: str,
        data: bytes = b"",
        endpoints: tuple[bytes, ...] = (),
        *,
        ttl: float | None = 60,
        cluster: str = "c",
    ) -> None:
        """Report an affiliate. Raises RPCError."""
        request = wire.AffiliateUpdateRequest(cluster_id=cluster, affiliate_id=id, affiliate_endpoints=endpoints)
        if data:
            request.affiliate_data = data
        if ttl is not None:
            request.ttl.FromNanoseconds(round(ttl * SECOND))
        await self.call("AffiliateUpdate", request)

    async def delete(self, id: str, *, cluster: str = "c") -> None:
        """Delete an affiliate. Raises RPCError."""
        await self.call("AffiliateDelete", wire.AffiliateDeleteRequest(cluster_id=cluster, affiliate_id=id))

    async def list(self, *, cluster: str = "c") -> dict[str, wire.Affiliate]:
        """All affiliates, by id. Raises RPCError."""
        framed: bytes = await self.call("List", wire.ListRequest(cluster_id=cluster))
        response = wire.ListResponse.FromString(framed[5:])
        return {affiliate.id: affiliate for affiliate in response.affiliates}

    async def watch(self, *, cluster: str = "c") -> Watcher:
        """Begin to watch; the snapshot is not among what the watcher takes."""
        watcher = Watcher()
        request = wire.WatchRequest(cluster_id=cluster)
        self.nursery.start_soon(lambda: self.call("Watch", request, outlet=watcher))
        await settle()
        assert len(watcher.take()) == 1
        return watcher


async def settle() -> None:
    """Wait, in virtual time, until watchers have been told everything."""
    await trio.sleep(10)
    await trio.testing.wait_all_tasks_blocked()


@asynccontextmanager
async def open_house(
    *,
    trust: Trust | None = None,
    redirect: str = "",
    state: State | None = None,
    now: Callable[[], int] | None = None,
) -> AsyncIterator[House]:
    """A service for a test in virtual time."""
    state = MemoryState() if state is None else state
    async with trio.open_nursery() as nursery:
        clusters = Clusters(state, nursery)
        greeted: list[str] = []
        service = ClusterService(
            state,
            clusters,
            now=now or (lambda: house.now()),
            greeted=greeted.append,
            trust=trust or Trust(),
            redirect=redirect,
        )
        house = House(service, clusters, state, nursery, greeted=greeted)
        yield house
        clusters.close()
        nursery.cancel_scope.cancel()
