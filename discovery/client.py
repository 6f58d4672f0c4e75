"""The client of one discovery service: announces this node, and follows the service's reports about the others.

Theory of operation. The client runs this loop until it is cancelled:

    wait (backoff) → connect → hello → [redirected: again, elsewhere] → watch → refresh → ... → a failure: again

The wait also precedes the first attempt, so that a cluster whose nodes start together does not stampede its service.
While a watch is open two tasks run: one applies messages to the view, one sends this node's records,
changes at once, and everything when half of the TTL is over. Only an accepted record resets
the backoff, so a service that accepts the hello and then refuses is not called more often. A failed refresh ends
the watch, and the loop starts over at once, not when the next refresh is due: by then the record could have expired.
A service that sends more than it may (`message_limits`) is left for minutes, and longer each time.

This node's record stays at the service until it expires; `leave` deletes it at once.
"""

import random
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Protocol

import attrs
import trio

from nodespan.discovery.affiliate import AffiliateData, encode_affiliate
from nodespan.discovery.ciphers import OVERHEAD, ClusterCipher
from nodespan.discovery.complaints import Complaints
from nodespan.discovery.endpoint_url import DialAddress, EndpointURLError, redirected
from nodespan.discovery.message_limits import MOST_AFFILIATES, MOST_TEXT, ExcessError, cut
from nodespan.discovery.view import Change, Rejection, SeenAffiliate, View
from nodespan.discovery.wire import server_pb2
from nodespan.resources.addresses import AddressError, decode_address
from nodespan.runtime.api.grpc.client.errors import Stage
from nodespan.runtime.backoff import Backoff, Exponential
from nodespan.runtime.errors import leaves
from nodespan.runtime.process.logger import Logger
from nodespan.runtime.token_bucket import TokenBucket

TTL = 30 * 60.0
HELLO_LIMIT = 10.0
REFRESH_LIMIT = 30.0
# The service's limits: bytes of an affiliate's data and of an endpoint, endpoints per affiliate.
MOST_DATA = 2048
MOST_ENDPOINT = 32
MOST_ENDPOINTS = 64
# How long a service is left that sends more than it may.
_EXCESSES = Exponential(base=120.0, cap=30 * 60.0, jitter=0.25)
# Blobs that are read a second, and at once.
_BLOBS_PER_SECOND = 5_000
_BLOBS_AT_ONCE = 300_000

# The statuses of a refused request, as opposed to a failed call.
_REFUSALS = frozenset({"INVALID_ARGUMENT", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "PERMISSION_DENIED"})


class TransportError(Exception):
    """A failed call: `code` is the name of its gRPC status, `stage` the step that failed."""

    def __init__(self, code: str, details: str, stage: Stage = Stage.SERVICE) -> None:
        super().__init__(cut(f"{code}: {details}" if details else code))
        self.code = code
        self.details = cut(details)
        self.stage = stage

    @property
    def is_refusal(self) -> bool:
        """Whether the service answered and refused."""
        return self.code in _REFUSALS


class Connection(Protocol):
    """A connection to a service. All calls raise TransportError and can be cancelled."""

    async def hello(self, request: server_pb2.HelloRequest) -> server_pb2.HelloResponse: ...
    async def update(self, request: server_pb2.AffiliateUpdateRequest) -> None: ...
    async def delete(self, request: server_pb2.AffiliateDeleteRequest) -> None: ...
    def watch(
        self, request: server_pb2.WatchRequest
    ) -> AbstractAsyncContextManager[AsyncIterator[server_pb2.WatchResponse]]:
        """The messages of a watch, until the service ends it."""
        ...


class Transport(Protocol):
    """Connects to services. `keepalive` is the interval of tests of an idle connection, in seconds."""

    def connect(self, target: DialAddress, *, keepalive: float) -> AbstractAsyncContextManager[Connection]: ...


@attrs.frozen(kw_only=True)
class Failure:
    """Why a service is not in use."""

    stage: Stage
    message: str


@attrs.frozen(kw_only=True)
class ClientOptions:
    """The fixed parameters of a client: a change of any needs a new client. Times are seconds."""

    target: DialAddress
    cluster_id: str
    node_id: str
    key: bytes = attrs.field(repr=False)
    version: str = ""
    ttl: float = TTL


@attrs.frozen
class _Own:
    """This node's desired record; the data is None until it is published."""

    data: AffiliateData | None = None
    endpoints: tuple[str, ...] = ()
    blob: bytes = b""
    endpoint_blobs: tuple[bytes, ...] = ()


@attrs.frozen
class _Others:
    """The desired reports of other nodes' endpoints, by affiliate id."""

    endpoints: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)
    blobs: Mapping[str, tuple[bytes, ...]] = attrs.field(factory=dict)


@attrs.define
class _Sent:
    """What was sent since the last full refresh."""

    own: _Own | None = None
    others: dict[str, tuple[bytes, ...]] = attrs.field(factory=dict)


class Client:
    """One client. Create it, `run` it in a task of its own, and publish records with the other methods.

    `on_change` is called, in the trio thread, whenever `take_changes` or one of the properties has changed.
    `random_bytes` generates the nonces. All methods but `run` return at once.
    """

    def __init__(
        self,
        options: ClientOptions,
        transport: Transport,
        *,
        log: Logger,
        on_change: Callable[[], None] = lambda: None,
        random: random.Random,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self.options = options
        self._transport = transport
        self._log = log
        self._on_change = on_change
        self._cipher = ClusterCipher(options.key, random_bytes)
        self._view = View(options.node_id, self._cipher)
        self._changed: set[str] = set()
        self._missing: set[str] = set()
        self._backoff = Backoff(random)
        self._target = options.target
        self._own = _Own()
        self._others = _Others()
        self._is_leaving = False
        self._has_left = False
        # Set when there is something to send.
        self._unsent = trio.Event()
        self._attempt = trio.CancelScope()
        self._complaints = Complaints()
        self._blobs = TokenBucket(_BLOBS_PER_SECOND, _BLOBS_AT_ONCE, 0.0)
        self._excesses = Backoff(random, _EXCESSES)
        self._is_left = False
        self._failure: Failure | None = None
        self._is_connected = False
        self._public_address = ""
        self._is_synced = False

    # Observed state.

    @property
    def affiliates(self) -> Mapping[str, SeenAffiliate]:
        """The other nodes by the service's id: a live, read-only mapping."""
        return self._view.known

    @property
    def own_endpoints(self) -> tuple[str, ...]:
        """The endpoints of this node that the service has: its own, now or lately, and those that others report."""
        return self._view.own_endpoints

    @property
    def public_address(self) -> str:
        """This node's address as observed by the service, "" if unknown."""
        return self._public_address

    @property
    def is_synced(self) -> bool:
        """Whether the service has ever sent a full snapshot."""
        return self._is_synced

    @property
    def rejected(self) -> int:
        """The number of unreadable blobs."""
        return self._view.rejected

    @property
    def unreadable(self) -> Mapping[str, str]:
        """Reasons of unreadable affiliates by the service's id: a live, read-only mapping."""
        return self._view.unreadable

    @property
    def is_connected(self) -> bool:
        """Whether a watch is open and has delivered its snapshot."""
        return self._is_connected

    @property
    def failure(self) -> Failure | None:
        """Why the latest attempt failed, None before the first and while the service is in use."""
        return self._failure

    @property
    def has_left(self) -> bool:
        """Whether the service has deleted this node's record after `leave`."""
        return self._has_left

    def take_changes(self) -> frozenset[str]:
        """The ids in `affiliates` that were added, changed or removed since the last call."""
        changed, self._changed = frozenset(self._changed), set()
        return changed

    def take_missing(self) -> frozenset[str]:
        """The ids, since the last call, that the first message of a stream lacked and that were not reported since.

        They are among those of `take_changes`. A service that has lost its records, or was replaced, lacks the nodes
        that have not announced themselves to it yet.
        """
        missing, self._missing = frozenset(self._missing), set()
        return missing

    # Desired state.

    def publish(self, data: AffiliateData, endpoints: tuple[str, ...]) -> None:
        """Announce this record of this node from now on; an unchanged one is not sent again. Revokes `leave`.

        A record that is too large for the service is truncated, with a warning: a node that is known by some of its
        addresses is better than an unknown one. Raises AddressError for an invalid address.
        """
        if not self._is_leaving and (data, endpoints) == (self._own.data, self._own.endpoints):
            return
        self._is_leaving = self._has_left = False
        fitting = self._fit(data)
        self._own = _Own(data, endpoints, self._cipher.encrypt_affiliate(fitting), self._fit_endpoints(endpoints))
        self._unsent.set()

    def report(self, endpoints: Mapping[str, tuple[str, ...]]) -> None:
        """Report these endpoints of other nodes, by affiliate id, from now on. Raises AddressError."""
        if endpoints == self._others.endpoints:
            return
        sent = {id: self._fit_endpoints(observed) for id, observed in endpoints.items()}
        self._others = _Others(dict(endpoints), sent)
        self._unsent.set()

    def leave(self) -> None:
        """Delete this node's record, and send nothing more."""
        if not self._is_leaving:
            self._is_leaving = True
            self._own, self._others = _Own(), _Others()
            self._unsent.set()

    def reconnect(self) -> None:
        """Drop the connection or the attempt and redial: the dialling parameters have changed."""
        self._backoff.reset()
        self._attempt.cancel()

    # The connection loop.

    async def run(self) -> None:
        """Run the loop until cancelled. Never raises because of a service or a network."""
        while True:
            with trio.CancelScope() as self._attempt:
                await self._try()

    async def _try(self) -> None:
        """One connection, until it fails."""
        wait = self._backoff.next()
        if self._is_left:
            wait = self._excesses.next()
            self._is_left = False
        await trio.sleep(wait)
        try:
            async with self._transport.connect(self._target, keepalive=max(10.0, self.options.ttl / 10)) as service:
                if await self._hello(service):
                    await self._follow(service)
        except* (TransportError, ExcessError) as group:
            for error in leaves(group):
                if not isinstance(error, TransportError):
                    self._is_left = True
                    error = TransportError("BEYOND_LIMITS", str(error))  # the same, in one form
                self._fail(error)
        finally:
            self._set_connected(is_connected=False)

    def _fail(self, error: TransportError) -> None:
        """Record and log the cause of a failed attempt."""
        failure = Failure(stage=error.stage, message=str(error) if error.stage is Stage.SERVICE else error.details)
        event = "the discovery service cannot be used, trying again"
        if self._is_left:
            event = "the discovery service sends more than it may, it is left for some minutes"
        self._log.warning(event, service=self._target.address, error=str(error), stage=str(error.stage))
        if failure != self._failure:
            self._failure = failure
            self._on_change()

    def _set_connected(self, *, is_connected: bool) -> None:
        if is_connected and self._failure is not None:
            self._failure = None
        elif is_connected == self._is_connected:
            return
        self._is_connected = is_connected
        self._on_change()

    async def _hello(self, service: Connection) -> bool:
        """Say hello; returns whether to stay with this service."""
        options = self.options
        request = server_pb2.HelloRequest(cluster_id=options.cluster_id, client_version=options.version)
        with _limit(HELLO_LIMIT, "hello"):
            response = await service.hello(request)
        self._set_public_address(response.client_ip)
        endpoint = response.redirect.endpoint
        if not endpoint:
            return True
        try:
            target = redirected(self._target, endpoint)
        except EndpointURLError as error:
            raise TransportError("INVALID_REDIRECT", str(error)) from error
        if len(endpoint) > MOST_TEXT:
            raise TransportError("INVALID_REDIRECT", f"to a name of {len(endpoint)} characters")
        self._target = target
        self._log.info("the discovery service redirects", service=options.target.address, to=self._target.address)
        return False

    def _set_public_address(self, packed: bytes) -> None:
        try:
            address = decode_address(packed)
        except AddressError as error:
            self._log.warning("the discovery service reports an invalid address of this node", error=str(error))
            address = ""
        if address != self._public_address:
            self._public_address = address
            self._on_change()

    async def _follow(self, service: Connection) -> None:
        """Watch and refresh until one of them fails."""
        async with service.watch(server_pb2.WatchRequest(cluster_id=self.options.cluster_id)) as messages:
            self._view.begin_stream()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._receive, messages)
                await self._refresh_forever(service)

    async def _receive(self, messages: AsyncIterator[server_pb2.WatchResponse]) -> None:
        async for message in messages:
            own = self._view.own_endpoints
            change = await self._take(message)
            for rejection in change.rejections:
                self._complain(rejection)
            if self._complaints.is_to_be_counted(self._view.rejected):
                self._log.warning(
                    "many records from the discovery service are unreadable",
                    service=self._target.address,
                    rejected_so_far=self._view.rejected,
                )
            self._set_connected(is_connected=True)
            if change.ids or change.rejections or not self._is_synced or own != self._view.own_endpoints:
                self._is_synced = True
                self._changed |= change.ids
                self._missing = (self._missing - change.ids) | change.missing
                self._on_change()
        raise TransportError("END_OF_STREAM", "the service ended the watch")

    async def _take(self, message: server_pb2.WatchResponse) -> Change:
        """Apply a message to the view, at a limited rate and in slices."""
        blobs = sum(1 + len(entry.endpoints) for entry in message.affiliates[:MOST_AFFILIATES])
        wait = self._blobs.spend(1 + blobs, trio.current_time())
        if wait:
            await trio.sleep(wait)
        slices = self._view.receive_in_slices(message)
        while True:
            try:
                next(slices)
            except StopIteration as end:
                change: Change = end.value
                return change
            await trio.lowlevel.checkpoint()

    def _complain(self, rejection: Rejection) -> None:
        if self._complaints.is_to_be_named(rejection):
            self._log.warning(
                "an unreadable record from the discovery service was skipped",
                service=self._target.address,
                affiliate=cut(rejection.affiliate_id),
                part="endpoint" if rejection.is_endpoint else "data",
                reason=rejection.reason,
                rejected_so_far=self._view.rejected,
            )

    async def _refresh_forever(self, service: Connection) -> None:
        while True:
            due, sent = trio.current_time() + self.options.ttl / 2, _Sent()
            while trio.current_time() < due:
                # Created before anything is sent, so that changes made meanwhile are sent afterwards.
                self._unsent = trio.Event()
                await self._refresh(service, sent)
                self._backoff.reset()
                with trio.move_on_at(due):
                    await self._unsent.wait()
            # Half of the TTL has passed without an excess.
            self._excesses.reset()

    async def _refresh(self, service: Connection, sent: _Sent) -> None:
        """Send everything that was not sent yet."""
        own, others, options = self._own, self._others, self.options
        if self._is_leaving:
            request = server_pb2.AffiliateDeleteRequest(cluster_id=options.cluster_id, affiliate_id=options.node_id)
            with _limit(REFRESH_LIMIT, "the deletion of this node's record"):
                await service.delete(request)
            self._note_left()
        elif own.data is not None:
            if own is not sent.own:
                with _limit(REFRESH_LIMIT, "the refresh of this node's record"):
                    await service.update(self._update(options.node_id, own.endpoint_blobs, own.blob))
                sent.own = own
            for id, blobs in others.blobs.items():
                if sent.others.get(id) != blobs:
                    sent.others[id] = blobs
                    await self._report(service, id, blobs)

    async def _report(self, service: Connection, id: str, blobs: tuple[bytes, ...]) -> None:
        try:
            with _limit(REFRESH_LIMIT, "the report of an endpoint"):
                await service.update(self._update(id, blobs))
        except TransportError as error:
            # One node with too many endpoints, or that is gone, must not stop the reports of all others.
            if not error.is_refusal:
                raise
            self._log.warning("an observed endpoint was refused", affiliate=id, error=str(error))

    def _note_left(self) -> None:
        # It may have been revoked during the call.
        if self._is_leaving and not self._has_left:
            self._has_left = True
            self._on_change()

    def _update(
        self, id: str, endpoints: tuple[bytes, ...], data: bytes | None = None
    ) -> server_pb2.AffiliateUpdateRequest:
        request = server_pb2.AffiliateUpdateRequest(
            cluster_id=self.options.cluster_id, affiliate_id=id, affiliate_data=data, affiliate_endpoints=endpoints
        )
        request.ttl.FromMilliseconds(round(self.options.ttl * 1000))
        return request

    def _fit(self, data: AffiliateData) -> AffiliateData:
        """The data, truncated to the first addresses that fit the service's limit."""
        fitting = data
        while len(encode_affiliate(fitting)) > MOST_DATA - OVERHEAD and fitting.addresses:
            fitting = attrs.evolve(fitting, addresses=fitting.addresses[:-1])
        if fitting is not data:
            self._log.warning(
                "this node has more addresses than fit into its record, the last ones are not announced",
                addresses=len(data.addresses),
                sent=len(fitting.addresses),
            )
        return fitting

    def _fit_endpoints(self, endpoints: tuple[str, ...]) -> tuple[bytes, ...]:
        blobs = tuple(self._cipher.encrypt_endpoint(endpoint) for endpoint in endpoints)
        fitting = tuple(blob for blob in blobs if len(blob) <= MOST_ENDPOINT)[:MOST_ENDPOINTS]
        if len(fitting) < len(blobs):
            self._log.warning(
                "this node has more endpoints than the discovery service accepts, the last ones are not announced",
                endpoints=len(blobs),
                sent=len(fitting),
            )
        return fitting


@contextmanager
def _limit(seconds: float, what: str) -> Iterator[None]:
    """Raises TransportError if a block takes too long."""
    with trio.move_on_after(seconds) as scope:
        yield
    if scope.cancelled_caught:
        raise TransportError("DEADLINE_EXCEEDED", f"{what} took longer than {seconds:g} s", Stage.DEADLINE)
