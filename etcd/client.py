"""The client of an etcd cluster: keys, transactions, leases and watches over the gRPC API of its members."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Self, TypeVar

import trio
from google.protobuf.message import Message

from nodespan.etcd import methods
from nodespan.etcd.errors import EtcdError, LeaseGoneError
from nodespan.etcd.login import Credentials
from nodespan.etcd.members import TIMEOUT, Members
from nodespan.etcd.tls_files import TLSFiles
from nodespan.etcd.values import (
    ClusterMember,
    Compare,
    Delete,
    DeleteAnswer,
    Get,
    Header,
    Lease,
    LeaseStatus,
    MemberStatus,
    Operation,
    Put,
    PutAnswer,
    RangeAnswer,
    Renewal,
    Sort,
    TxnAnswer,
    txn_request,
)
from nodespan.etcd.watch import Events, watched
from nodespan.etcd.wire import etcd_pb2 as wire

Parsed = TypeVar("Parsed")


class EtcdClient:
    """A client of the cluster that has these members; an async context manager.

    An endpoint is `https://HOST:PORT`, or `http:`. Every call ends within `timeout` seconds, with UnavailableError if
    no member answered until then, can be cancelled, and may run beside others. Idempotent calls are repeated, at other
    members and also at several at once; those that are not say so. All raise AuthError and RefusedError for what etcd
    does not allow. With `credentials` the client is a user of etcd.

    Raises EndpointError at once, and TLSFilesError when it is entered, which also reads the files.
    """

    def __init__(
        self,
        endpoints: Sequence[str],
        *,
        tls: TLSFiles | None = None,
        credentials: Credentials | None = None,
        timeout: float = TIMEOUT,
    ) -> None:
        self._members = Members(endpoints, tls=tls, credentials=credentials, timeout=timeout)

    async def __aenter__(self) -> Self:
        await self._members.__aenter__()
        return self

    async def __aexit__(self, *raised: Any) -> bool | None:
        return await self._members.__aexit__(*raised)

    @property
    def endpoints(self) -> tuple[str, ...]:
        """The members, in the order given."""
        return self._members.endpoints

    @property
    def timeout(self) -> float:
        """How long a call takes at most, in seconds."""
        return self._members.timeout

    async def range(
        self,
        key: bytes,
        *,
        prefix: bool = False,
        sort: Sort | None = None,
        limit: int = 0,
        max_create_revision: int = 0,
        serializable: bool = False,
        keys_only: bool = False,
        after: bytes = b"",
        revision: int = 0,
        within: float | None = None,
    ) -> RangeAnswer:
        """Read a key, or all that begin with it; the options are those of `Get`.

        Raises CompactedError for a `revision` that etcd has forgotten.
        """
        get = Get(
            key=key,
            prefix=prefix,
            after=after,
            revision=revision,
            sort=sort,
            limit=limit,
            max_create_revision=max_create_revision,
            serializable=serializable,
            keys_only=keys_only,
        )
        return await self._call(methods.RANGE, get.request(), RangeAnswer.of, within=within)

    async def put(self, key: bytes, value: bytes, *, lease: int = 0) -> Header:
        """Write a key. Not repeated: an UnavailableError has whether it may have been written all the same.

        Raises LeaseGoneError if it is to be bound to a lease that is over.
        """
        put = Put(key=key, value=value, lease=lease)
        return (await self._call(methods.PUT, put.request(), PutAnswer.of, repeat=False)).header

    async def delete(self, key: bytes, *, prefix: bool = False) -> int:
        """Delete a key, or all that begin with it; returns how many. Not repeated, like `put`."""
        delete = Delete(key=key, prefix=prefix)
        return (await self._call(methods.DELETE_RANGE, delete.request(), DeleteAnswer.of, repeat=False)).deleted

    async def txn(
        self,
        *,
        compare: Sequence[Compare] = (),
        success: Sequence[Operation] = (),
        failure: Sequence[Operation] = (),
        repeat: bool = False,
        within: float | None = None,
    ) -> TxnAnswer:
        """Do `success` if all conditions hold, otherwise `failure`, at one moment.

        `repeat` is for idempotent transactions, also if they are repeated much later: those that only read, and those
        whose conditions fail once they have succeeded. The answer may then be that of the second time.
        """
        request = txn_request(compare, success, failure)
        return await self._call(methods.TXN, request, TxnAnswer.of, repeat=repeat, within=within)

    async def grant(self, ttl: float) -> Lease:
        """Get a lease of about `ttl` seconds, at least one; its own `ttl` is what counts.

        If it is repeated, an unused lease may be left, which expires by itself.
        """
        request = wire.LeaseGrantRequest(TTL=max(1, round(ttl)))
        return await self._call(methods.LEASE_GRANT, request, Lease.of)

    async def keepalive(self, lease: int, *, within: float | None = None) -> Renewal:
        """Renew a lease. Raises LeaseGoneError if it is over.

        The answer alone does not prove that the cluster knows: a member that is cut off may have given it.
        """
        request = wire.LeaseKeepAliveRequest(ID=lease)
        renewal = await self._call(methods.LEASE_KEEP_ALIVE, request, Renewal.of, within=within)
        if renewal.ttl <= 0:
            raise LeaseGoneError("the lease has ended at etcd")
        return renewal

    async def revoke(self, lease: int, *, within: float | None = None) -> None:
        """End a lease, and delete the keys that are bound to it. One that is over already is no error."""
        try:
            request = wire.LeaseRevokeRequest(ID=lease)
            await self._call(methods.LEASE_REVOKE, request, lambda _: None, within=within)
        except LeaseGoneError:
            return

    async def time_to_live(self, lease: int) -> LeaseStatus:
        """What is known of a lease. Raises LeaseGoneError if it is over."""
        request = wire.LeaseTimeToLiveRequest(ID=lease, keys=True)
        status = await self._call(methods.LEASE_TIME_TO_LIVE, request, LeaseStatus.of)
        if status.ttl <= 0:
            raise LeaseGoneError("the lease has ended at etcd")
        return status

    async def status(self) -> tuple[MemberStatus, ...]:
        """How each member sees itself, in the order of the endpoints. One that cannot be reached is not an error."""
        found: dict[str, MemberStatus] = {}

        async def ask(endpoint: str) -> None:
            try:
                found[endpoint] = await self._members.ask(
                    endpoint,
                    methods.STATUS,
                    wire.StatusRequest(),
                    lambda answer: MemberStatus.of(endpoint, answer),
                )
            except EtcdError as error:
                found[endpoint] = MemberStatus(endpoint=endpoint, trouble=str(error))

        async with trio.open_nursery() as nursery:
            for endpoint in self.endpoints:
                nursery.start_soon(ask, endpoint)
        return tuple(found[endpoint] for endpoint in self.endpoints)

    async def members(self) -> tuple[ClusterMember, ...]:
        """The members as the cluster knows them, which need not be those that this client was given."""

        def parse(answer: wire.MemberListResponse) -> tuple[ClusterMember, ...]:
            Header.of(answer)
            return tuple(map(ClusterMember.of, answer.members))

        return await self._call(methods.MEMBER_LIST, wire.MemberListRequest(linearizable=True), parse)

    def watch(
        self, key: bytes, *, prefix: bool = False, from_revision: int, previous: bool = False
    ) -> AbstractAsyncContextManager[Events]:
        """Watch a key, or all that begin with it, from a revision on, for as long as the block.

        The revision is at least 1; to see what happens from now on, take one more than that of an answer. (etcd's own
        "from now on" begins when the request has arrived, and leaves out what was written until then.) With `previous`
        the events have the key before the change, too.

        Dead members are left within two seconds, and the watch goes on at another one. `Events` has what ends it.
        """
        return watched(self._members, key, prefix=prefix, from_revision=from_revision, previous=previous)

    async def _call(
        self,
        method: methods.Method[methods.Answer],
        request: Message,
        parse: Callable[[methods.Answer], Parsed],
        *,
        repeat: bool = True,
        within: float | None = None,
    ) -> Parsed:
        return await self._members.call(method, request, parse, repeat=repeat, within=within)
