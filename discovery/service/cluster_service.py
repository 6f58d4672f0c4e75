"""The methods of the service `sidero.discovery.server.Cluster`."""

from collections.abc import Awaitable, Callable
from contextlib import suppress

import trio

from nodespan.discovery.service import rules
from nodespan.discovery.service.affiliate import OWNER, Affiliate, AffiliateSpec, affiliate_id
from nodespan.discovery.service.client_address import Trust, client_address
from nodespan.discovery.service.cluster import Cluster, Clusters
from nodespan.discovery.service.version_label import version_label
from nodespan.discovery.wire import server_pb2 as wire
from nodespan.resources.addresses import encode_address
from nodespan.runtime.api.grpc import AtOnce, Call, Code, Method, RPCError, frame, methods, server_stream, unary
from nodespan.runtime.errors import (
    ConflictError,
    NotFoundError,
    OwnerConflictError,
    PhaseConflictError,
    UnavailableError,
)
from nodespan.runtime.resource import Resource
from nodespan.runtime.state import MemoryState, State

SERVICE = "sidero.discovery.server.Cluster"
# So many clusters are looked at for what expires before other tasks run.
_LOOKED_AT_ONCE = 200
# The time, in seconds, in which a watcher must read one batch.
_MAX_STALL = 60.0
# The one answer to all reports that are taken.
_UPDATED = frame(wire.AffiliateUpdateResponse().SerializeToString())


class ClusterService:
    """Answers calls from a state and its clusters. `now` is the service's clock, in nanoseconds.

    `greeted` is called with the version label of each client that says hello; `redirect` is the address to redirect
    to, if any; `tells_address`: clients get their address.
    """

    def __init__(
        self,
        state: State,
        clusters: Clusters,
        *,
        now: Callable[[], int],
        greeted: Callable[[str], None],
        trust: Trust,
        redirect: str = "",
        tells_address: bool = True,
    ) -> None:
        self._state = state
        self._clusters = clusters
        self._now = now
        self._greeted = greeted
        self._trust = trust
        self._redirect = redirect
        self._tells_address = tells_address

    def methods(self) -> dict[str, Method]:
        """The methods for a server."""
        # Only writes to memory never wait: other states write to a disk, or to a server.
        is_quick = type(self._state) is MemoryState
        update = AtOnce(self._update) if is_quick else self._update
        delete = AtOnce(self._delete) if is_quick else self._delete
        return methods(
            unary(f"/{SERVICE}/Hello", wire.HelloRequest, AtOnce(self._hello)),
            unary(f"/{SERVICE}/AffiliateUpdate", wire.AffiliateUpdateRequest, update),
            unary(f"/{SERVICE}/AffiliateDelete", wire.AffiliateDeleteRequest, delete),
            unary(f"/{SERVICE}/List", wire.ListRequest, AtOnce(self._list)),
            server_stream(f"/{SERVICE}/Watch", wire.WatchRequest, self._watch),
        )

    def _cluster(self, id: str) -> Cluster:
        rules.check_cluster_id(id)
        return self._clusters.mention(id)

    async def _hello(self, request: wire.HelloRequest, call: Call) -> wire.HelloResponse:
        self._greeted(version_label(request.client_version))
        self._cluster(request.cluster_id)
        response = wire.HelloResponse()
        if self._redirect:
            response.redirect.endpoint = self._redirect
        address = client_address(call.header, call.peer.address, self._trust)
        if self._tells_address and address is not None:
            response.client_ip = encode_address(str(address))
        return response

    async def _update(self, request: wire.AffiliateUpdateRequest, _call: Call) -> bytes:
        cluster_id, id = request.cluster_id, request.affiliate_id
        rules.check_cluster_id(cluster_id)
        rules.check_affiliate_id(id)
        ttl = request.ttl.seconds * 10**9 + request.ttl.nanos
        rules.check_report(request.affiliate_data, request.affiliate_endpoints, ttl)
        cluster = self._clusters.mention(cluster_id)
        # All TTLs in the past are equal, and a bound keeps the numbers in the state small.
        expiry = max(self._now() + ttl, 0)
        error: RPCError | None = None

        def merged(known: Resource[AffiliateSpec]) -> Resource[AffiliateSpec]:
            nonlocal error
            spec, error = rules.merge(known.spec, request.affiliate_data, request.affiliate_endpoints, expiry)
            return known.with_spec(spec)

        stored = affiliate_id(cluster_id, id)

        def write() -> Awaitable[object]:
            if self._state.find(Affiliate, stored) is not None:
                return self._state.update_with_conflicts(Affiliate, stored, merged, owner=OWNER)
            fresh = Affiliate.new(stored, AffiliateSpec(cluster=cluster_id, affiliate=id))
            return self._state.modify(fresh, merged, owner=OWNER)

        cluster.expect(id)
        try:
            await _written(write)
        finally:
            cluster.expected(id)
        if error is not None:
            raise error
        return _UPDATED

    async def _delete(self, request: wire.AffiliateDeleteRequest, _call: Call) -> wire.AffiliateDeleteResponse:
        cluster = self._cluster(request.cluster_id)
        rules.check_affiliate_id(request.affiliate_id)
        if request.affiliate_id in cluster.affiliates:
            id = affiliate_id(request.cluster_id, request.affiliate_id)
            await _written(lambda: self._state.destroy(Affiliate, id, owner=OWNER), is_gone_ok=True)
        return wire.AffiliateDeleteResponse()

    async def _list(self, request: wire.ListRequest, _call: Call) -> bytes:
        # A list looks like the first message of a watch, and all who ask share it.
        return self._cluster(request.cluster_id).snapshot().data

    async def _watch(self, request: wire.WatchRequest, call: Call) -> None:
        cluster = self._cluster(request.cluster_id)
        watcher = cluster.watch(call)
        try:
            framed = cluster.snapshot()
            while True:
                with trio.move_on_after(_MAX_STALL) as patience:
                    await call.send_framed(framed.data, framed.count)
                if patience.cancelled_caught:
                    raise RPCError(Code.ABORTED, f"the watcher has not read for {_MAX_STALL:g} s")
                await cluster.wait_beyond(watcher)
                increment = cluster.increment(watcher.position)
                if increment is None:
                    raise RPCError(Code.ABORTED, "the watcher is too slow: start a new watch")
                watcher.position, framed = cluster.position, increment
        finally:
            cluster.leave(watcher)

    # Periodic work.

    async def collect(self) -> int:
        """Drop what has expired; returns the number of affiliates.

        Other instances of the service may do the same on a shared state: whoever is late finds it done. What is
        announced meanwhile is not dropped.
        """
        now = self._now()
        count = 0
        for number, (cluster_id, cluster) in enumerate(self._clusters.items()):
            if number % _LOOKED_AT_ONCE == 0:
                await trio.lowlevel.checkpoint()  # lets calls run in between
            # Most clusters have nothing that ends, and are not looked at closely.
            if now < cluster.earliest and cluster.latest <= now + rules.MAX_TTL:
                continue
            for id in tuple(cluster.affiliates):
                # As it is now: other affiliates may have been waited for.
                spec = cluster.affiliates.get(id)
                left = spec and rules.prune(spec, now)
                if spec is not None and left is None:
                    # A destruction would wait for a report that is being stored, and take it along.
                    if cluster.is_expected(id):
                        continue
                    count += await self._drop(cluster_id, id)
                elif left is not spec:
                    await self._prune(cluster_id, id, now)
            cluster.tighten()
            await trio.lowlevel.checkpoint()
        return count

    async def _prune(self, cluster_id: str, id: str, now: int) -> None:
        def pruned(known: Resource[AffiliateSpec]) -> Resource[AffiliateSpec]:
            return known.with_spec(rules.prune(known.spec, now) or known.spec)

        with suppress(NotFoundError, UnavailableError):  # it may have been deleted meanwhile
            await self._state.update_with_conflicts(Affiliate, affiliate_id(cluster_id, id), pruned, owner=OWNER)

    async def _drop(self, cluster_id: str, id: str) -> bool:
        """Destroy an affiliate that has expired, unless it was destroyed or announced again at the same moment."""
        try:
            await self._state.destroy(Affiliate, affiliate_id(cluster_id, id), owner=OWNER)
        except (NotFoundError, ConflictError, UnavailableError):
            return False
        return True

    async def restore(self, spec: AffiliateSpec) -> None:
        """Add an affiliate from a snapshot, unless it exists."""
        with suppress(ConflictError):  # a persistent state is newer
            await self._state.create(Affiliate.new(affiliate_id(spec.cluster, spec.affiliate), spec), owner=OWNER)


async def _written(write: Callable[[], Awaitable[object]], *, is_gone_ok: bool = False) -> None:
    """Retry a write if another user of the state created, changed or destroyed the resource in between.

    With `is_gone_ok` a missing resource is no reason to. Raises RPCError while the state cannot be written.
    """
    while True:
        try:
            await write()
        except (OwnerConflictError, PhaseConflictError):
            raise
        except UnavailableError as error:
            raise RPCError(Code.UNAVAILABLE, str(error)) from error
        except NotFoundError:
            if is_gone_ok:
                return
            await trio.lowlevel.checkpoint()
        except ConflictError:
            await trio.lowlevel.checkpoint()
        else:
            return
