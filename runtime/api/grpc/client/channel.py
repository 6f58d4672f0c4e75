"""A channel: the connection to one of several servers that can answer the same calls, made when it is needed.

Theory. There is one connection at a time that takes calls. It is made by a task of the channel, for whichever call
comes first; calls that come meanwhile wait for the same attempt. An attempt tries the endpoints in their order, and the
one that takes the connection is the first from then on; one whose connection breaks is the last. While none can be
reached, calls fail with the reasons, or wait if they are told to; attempts are spaced by the backoff, which begins
again after an answer, not after a connection: a port that takes connections and does no more is a failure too.
"""

import contextlib
import random as randoms
from collections.abc import AsyncIterator, Callable, Sequence

import trio

from nodespan.runtime.api.grpc.client.call import Answer, Call, Request, encoded
from nodespan.runtime.api.grpc.client.connection import Connection
from nodespan.runtime.api.grpc.client.dial import Dialer, Dials, ProxyFor, TLSContext, no_proxy
from nodespan.runtime.api.grpc.client.endpoint import Endpoint
from nodespan.runtime.api.grpc.client.errors import CallError, Metadata, Stage, unreachable
from nodespan.runtime.api.grpc.client.options import ChannelOptions
from nodespan.runtime.api.grpc.client.stream import Account
from nodespan.runtime.api.grpc.client.trust import client_context
from nodespan.runtime.api.grpc.status import Code
from nodespan.runtime.background import background_tasks
from nodespan.runtime.backoff import Backoff


class Channel:
    """Calls to the servers at some endpoints; see `open_channel`. For tasks of one trio loop.

    All calls raise CallError. Cancelled, they are reset at the server. A call that no server has begun with, as it says
    itself, is repeated without a word; any other is not.
    """

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        dialer: Dials,
        options: ChannelOptions,
        nursery: trio.Nursery,
        random: randoms.Random | None,
    ) -> None:
        if not endpoints:
            raise ValueError("a channel needs an endpoint")
        self.endpoints = tuple(endpoints)
        self._order = list(endpoints)
        self._dialer = dialer
        self._options = options
        self._keepalive = options.keepalive
        self._nursery = nursery
        self._backoff = Backoff(random, options.backoff)
        self._current: Connection | None = None
        self._failure: CallError | None = None
        self._next_attempt = -float("inf")
        self._attempt: trio.CancelScope | None = None
        self._began = -float("inf")
        self._attempted = trio.lowlevel.ParkingLot()
        self._is_closed = False

    @property
    def endpoint(self) -> Endpoint | None:
        """The server that calls go to now; None while there is no connection."""
        return self._current.endpoint if self._current is not None and self._current.is_open else None

    @property
    def since(self) -> float:
        """When the latest attempt to connect began, by trio's clock; minus infinity before the first."""
        return self._began

    @property
    def failure(self) -> CallError | None:
        """Why there is no connection, while there is none."""
        return self._failure

    # Calls.

    async def unary(
        self,
        path: str,
        request: Request,
        decode: Callable[[bytes], Answer],
        *,
        timeout: float | None = None,  # noqa: ASYNC109  # it is sent to the server too
        metadata: Metadata = (),
        wait: bool = False,
    ) -> Answer:
        """Call a method that has one request and one answer.

        `decode` makes the answer from its bytes: `FromString` of its message. `wait`: while no server can be reached,
        wait for one until the timeout.
        """
        async with self._calling(path, encoded(request), decode, timeout, metadata, wait=wait) as call:
            answer = await call.receive()
            if answer is None:
                raise CallError(Code.INTERNAL, "the server ended the call without an answer", endpoint=call.endpoint)
            if await call.receive() is not None:
                raise CallError(Code.INTERNAL, "the server sent more than one answer", endpoint=call.endpoint)
            return answer

    def stream(
        self,
        path: str,
        request: Request,
        decode: Callable[[bytes], Answer],
        *,
        timeout: float | None = None,
        metadata: Metadata = (),
        wait: bool = False,
        account: Account | None = None,
    ) -> contextlib.AbstractAsyncContextManager[Call[Answer]]:
        """Call a method that has one request and any number of answers. The call is given up at the block's end.

        What of the answers lies here unread is accounted for in `account`; it fails when that is too much.
        """
        return self._calling(path, encoded(request), decode, timeout, metadata, wait=wait, account=account)

    def open(
        self,
        path: str,
        decode: Callable[[bytes], Answer],
        *,
        timeout: float | None = None,
        metadata: Metadata = (),
        wait: bool = False,
    ) -> contextlib.AbstractAsyncContextManager[Call[Answer]]:
        """Call a method that has any number of both, which are sent with `Call.send` and `Call.end`."""
        return self._calling(path, None, decode, timeout, metadata, wait=wait)

    @contextlib.asynccontextmanager
    async def _calling(
        self,
        path: str,
        request: bytes | None,
        decode: Callable[[bytes], Answer],
        timeout: float | None,  # noqa: ASYNC109
        metadata: Metadata,
        *,
        wait: bool,
        account: Account | None = None,
    ) -> AsyncIterator[Call[Answer]]:
        call = Call(self, path, decode, timeout=timeout, metadata=metadata, wait=wait, request=request, account=account)
        try:
            await call.begin()
            yield call
        finally:
            call.close()

    # Connections.

    async def connect(self, *, wait: bool = False) -> Endpoint:
        """Make sure that there is a connection, and say where to. Raises CallError."""
        return (await self.ready(wait=wait)).endpoint

    def reconnect(self) -> None:
        """Have the next calls use a new connection. Those under way end on the old one."""
        self._backoff.reset()
        self._next_attempt = -float("inf")
        if self._attempt is not None:
            self._attempt.cancel()
        if self._current is not None:
            self._current.drain()

    async def ready(self, *, wait: bool) -> Connection:
        """A connection with room for a call that is opened at once. Raises CallError."""
        await trio.lowlevel.checkpoint()
        while True:
            if self._is_closed:
                raise trio.ClosedResourceError("the channel is closed")
            connection = self._current
            if connection is not None and connection.is_open:
                if connection.has_room:
                    return connection
                await connection.wait_for_room()
            elif self._attempt is not None:
                await self._attempted.park()
                if self._failure is not None and not wait and self._attempt is None:
                    raise self._failure.again()
            elif trio.current_time() >= self._next_attempt:
                self._began = trio.current_time()
                self._attempt = trio.CancelScope()
                self._nursery.start_soon(self._try, self._attempt)
            elif wait or self._failure is None:
                await trio.sleep_until(self._next_attempt)
            else:
                raise self._failure.again()

    async def _try(self, scope: trio.CancelScope) -> None:
        """One attempt: the first endpoint that takes a connection is the one."""
        failures: list[CallError] = []
        try:
            with scope:
                for endpoint in tuple(self._order):
                    try:
                        self._current = await self._open(endpoint)
                    except CallError as error:
                        failures.append(error)
                    else:
                        self._order.remove(endpoint)
                        self._order.insert(0, endpoint)
                        self._failure = None
                        return
                self._wait_after(_together(failures))
        finally:
            self._attempt = None
            self._attempted.unpark_all()

    async def _open(self, endpoint: Endpoint) -> Connection:
        limit = self._options.connect_timeout
        began = trio.current_time()
        transport = await self._dialer.dial(endpoint, limit)
        connection = Connection(transport, endpoint, self._options, keepalive=self._keepalive, on_end=self._note_end)
        carrying = trio.CancelScope()
        self._nursery.start_soon(_carry, connection, carrying)
        try:
            with trio.fail_after(max(0.0, began + limit - trio.current_time())):
                await connection.wait_until_ready()
        except trio.TooSlowError:
            carrying.cancel()
            raise unreachable(Stage.HTTP, f"it has not answered within {limit:g} s", endpoint) from None
        except BaseException:
            carrying.cancel()
            raise
        return connection

    def _note_end(self, connection: Connection) -> None:
        if connection.is_pinged_too_often:
            self._keepalive *= 2
        if connection is not self._current:
            return
        self._current = None
        if connection.has_answered:
            self._backoff.reset()
        if not connection.is_drained:
            if connection.has_been_used and not connection.has_answered and connection.failure is not None:
                self._wait_after(connection.failure)
            self._order.remove(connection.endpoint)
            self._order.append(connection.endpoint)

    def _wait_after(self, failure: CallError) -> None:
        self._failure = failure
        self._next_attempt = trio.current_time() + self._backoff.next()

    def close(self) -> None:
        """Take no more calls."""
        self._is_closed = True


async def _carry(connection: Connection, scope: trio.CancelScope) -> None:
    with scope:
        await connection.run()


def _together(failures: Sequence[CallError]) -> CallError:
    """One error for what all endpoints failed of."""
    if len(failures) == 1:
        return failures[0]
    reasons = "; ".join(f"{failure.endpoint}: {failure}" for failure in failures)
    return unreachable(failures[0].stage, f"no server can be reached: {reasons}", failures[-1].endpoint)


@contextlib.asynccontextmanager
async def open_channel(
    endpoints: Sequence[Endpoint],
    *,
    tls: TLSContext = client_context,
    proxy: ProxyFor = no_proxy,
    options: ChannelOptions | None = None,
    random: randoms.Random | None = None,
) -> AsyncIterator[Channel]:
    """A channel for as long as the block lasts. Nothing is dialled before the first call.

    `tls` makes the settings of each connection, in a worker thread: unless given, the authorities of the system are
    trusted. `proxy` names the proxy for an endpoint, again for each connection. `random` spreads the attempts. What
    is under way at the block's end is reset. Errors of the block come out as they are, not in a group.
    """
    async with background_tasks() as nursery:
        channel = Channel(endpoints, Dialer(tls=tls, proxy=proxy), options or ChannelOptions(), nursery, random)
        try:
            yield channel
        finally:
            channel.close()
