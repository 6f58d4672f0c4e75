"""Clients of a discovery service over the network, on trio."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from nodespan.discovery.service.cluster_service import SERVICE
from nodespan.discovery.wire import server_pb2 as wire
from nodespan.runtime.api.grpc.client import Channel, Endpoint, open_channel

TIMEOUT = 60.0


class RpcClient:
    """The methods of the service."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def update(self, id: str, data: bytes = b"", *, cluster: str = "c", ttl: int = 600) -> None:
        """Announce an affiliate. Raises RPCError."""
        request = wire.AffiliateUpdateRequest(cluster_id=cluster, affiliate_id=id, affiliate_data=data)
        request.ttl.seconds = ttl
        await self._unary("AffiliateUpdate", request, wire.AffiliateUpdateResponse)

    async def report(self, id: str, *endpoints: bytes, cluster: str = "c") -> None:
        """Report endpoints of an affiliate. Raises RPCError."""
        request = wire.AffiliateUpdateRequest(cluster_id=cluster, affiliate_id=id, affiliate_endpoints=endpoints)
        request.ttl.seconds = 600
        await self._unary("AffiliateUpdate", request, wire.AffiliateUpdateResponse)

    async def endpoints(self, id: str, *, cluster: str = "c") -> set[bytes]:
        """The endpoints of an affiliate. Raises RPCError."""
        response = await self._unary("List", wire.ListRequest(cluster_id=cluster), wire.ListResponse)
        return {each for affiliate in response.affiliates if affiliate.id == id for each in affiliate.endpoints}

    async def list(self, *, cluster: str = "c") -> dict[str, bytes]:
        """The data of all affiliates. Raises RPCError."""
        response = await self._unary("List", wire.ListRequest(cluster_id=cluster), wire.ListResponse)
        return {affiliate.id: affiliate.data for affiliate in response.affiliates}

    @asynccontextmanager
    async def watch(self, *, cluster: str = "c") -> AsyncIterator[Any]:
        """The messages of a watch."""
        request = wire.WatchRequest(cluster_id=cluster)
        async with self._channel.stream(f"/{SERVICE}/Watch", request, wire.WatchResponse.FromString) as call:
            yield call

    async def _unary(self, name: str, request: Any, response: Any) -> Any:
        return await self._channel.unary(f"/{SERVICE}/{name}", request, response.FromString, timeout=TIMEOUT)


@asynccontextmanager
async def connected(*ports: int) -> AsyncIterator[RpcClient]:
    """A client of the first of these services that can be reached."""
    endpoints = [Endpoint("127.0.0.1", port, secure=False) for port in ports]
    async with open_channel(endpoints) as channel:
        yield RpcClient(channel)
