"""Serves pages over HTTP/1.1, on h11 and trio.

A connection has a seat from its first moment, before a TLS handshake: who connects and says nothing is counted too.
It is one task that alternates between two states. It waits for a request head, which must be complete within
`HttpLimits.head` seconds of its first byte and within `HttpLimits.max_head` bytes; then it sends the page, and waits
again. Requests that a client pipelines are answered one by one, in order.

A response may also be a stream, which is sent in chunks as it comes; it is the last of its connection, and ends when
the client leaves or takes longer than `HttpLimits.write` for 64 KiB.

A page takes no request body. A request that has one is answered, and its connection is closed. So is a connection
whose client breaks the protocol: h11 says how, and the client gets that status. Before closing, the server reads on for
a moment, because the kernel resets a connection that is closed with unread input, and the client may then lose the
response.
"""

import email.utils
import http
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable, Sequence
from contextlib import suppress
from urllib.parse import urlsplit

import attrs
import h11
import trio

from nodespan.runtime.api.listeners import open_at
from nodespan.runtime.api.pages import Answer, Page, Request, Respond, Streamed, from_memory
from nodespan.runtime.background import background
from nodespan.runtime.process.logger import Logger

_CHUNK = 8 * 1024
_PART = 64 * 1024
# Agrees on TLS with the client; returns the certificate that it has shown. May raise trio.BrokenResourceError.
Handshake = Callable[[], Awaitable[bytes | None]]


@attrs.frozen(kw_only=True)
class HttpLimits:
    """What clients may use: sizes in bytes, times in seconds.

    `head` limits the time for a request head, counted from its first byte, for the first request from the connection.
    `idle` is how long a connection is kept between requests, `write` how long a client may take to receive a page, and
    `linger` how long the server reads on before it closes; `handshake` is the time for that of TLS.

    Beyond `max_connections`, a new connection takes the place of one that waits for its request or its handshake: of
    the source that has most of them, the one that has waited the longest. Beyond `max_per_source` it must be one of its
    own source. One that is being answered keeps its place: if no other waits, the new one is refused.
    """

    max_connections: int = 256
    max_per_source: int | None = None
    handshake: float = 10.0
    max_head: int = 16 << 10
    head: float = 10.0
    idle: float = 75.0
    write: float = 30.0
    linger: float = 1.0


class _RefusedError(Exception):
    """The client gets this status and no page."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@attrs.frozen(eq=False)
class _Seat:
    """The place of a connection from `source`; cancelling `scope` closes it."""

    source: Hashable
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)


class HttpServer:
    """Sends what `answer` returns. If that raises, it is logged and the client gets status 500."""

    def __init__(self, answer: Answer, log: Logger, limits: HttpLimits | None = None) -> None:
        self._answer = answer
        self._log = log
        self._limits = limits or HttpLimits()
        self._seats: set[_Seat] = set()
        self._of_source: Counter[Hashable] = Counter()
        # Those of connections that wait for a request or a handshake, the longest wait first.
        self._waiting: dict[_Seat, None] = {}

    async def converse(
        self, stream: trio.abc.Stream, *, source: Hashable = None, handshake: Handshake | None = None
    ) -> None:
        """Serve one connection until its client leaves, breaks the rules or exceeds a limit; closes the stream.

        `source` is where it comes from, as `HttpLimits.max_per_source` counts.
        """
        try:
            seat = self._admit(source)
            if seat is None:
                self._log.debug("connection refused: too many connections", source=str(source))
                return
            try:
                with seat.scope:
                    await self._serve(stream, seat, handshake)
            finally:
                self._leave(seat)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client is gone
        finally:
            await trio.aclose_forcefully(stream)

    def _admit(self, source: Hashable) -> _Seat | None:
        limits = self._limits
        if limits.max_per_source is not None and self._of_source[source] >= limits.max_per_source:
            victim = next((seat for seat in self._waiting if seat.source == source), None)
        elif len(self._seats) >= limits.max_connections:
            # Of equals the first, which has waited the longest.
            victim = max(self._waiting, key=lambda seat: self._of_source[seat.source], default=None)
        else:
            return self._seated(source)
        if victim is None:
            return None
        victim.scope.cancel()
        self._leave(victim)
        return self._seated(source)

    def _seated(self, source: Hashable) -> _Seat:
        seat = _Seat(source)
        self._seats.add(seat)
        self._of_source[source] += 1
        return seat

    def _leave(self, seat: _Seat) -> None:
        self._waiting.pop(seat, None)
        if seat in self._seats:
            self._seats.remove(seat)
            self._of_source[seat.source] -= 1
            if not self._of_source[seat.source]:
                del self._of_source[seat.source]

    async def _serve(self, stream: trio.abc.Stream, seat: _Seat, handshake: Handshake | None) -> None:
        certificate = None
        if handshake is not None:
            self._waiting[seat] = None
            with trio.move_on_after(self._limits.handshake) as patience:
                certificate = await handshake()
            self._waiting.pop(seat, None)
            if patience.cancelled_caught:
                return
        await self._serve_requests(stream, seat, certificate)

    async def _serve_requests(self, stream: trio.abc.Stream, seat: _Seat, certificate: bytes | None) -> None:
        limits = self._limits
        machine = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.max_head)
        patience = limits.head
        try:
            while request := await self._next_request(machine, stream, seat, patience):
                page = await self._page_for(request, certificate)
                is_head = request.method == b"HEAD"
                if isinstance(page, Streamed):
                    try:
                        await self._stream(machine, stream, page, is_head=is_head)
                    finally:
                        page.end()
                    return
                if not await self._send(machine, stream, page, is_head=is_head, ends=_has_body(machine)):
                    return
                if not machine.our_state is machine.their_state is h11.DONE:
                    break
                machine.start_next_cycle()
                patience = limits.idle
        except _RefusedError as refused:
            page = Page(status=refused.status, body=f"{refused}\n".encode())
            if not await self._send(machine, stream, page, ends=True):
                return
        with trio.move_on_after(limits.linger):
            # TLS closes in both directions at once.
            if isinstance(stream, trio.abc.HalfCloseableStream):
                await stream.send_eof()
            while await stream.receive_some(_CHUNK):
                pass

    async def _next_request(
        self, machine: h11.Connection, stream: trio.abc.ReceiveStream, seat: _Seat, patience: float
    ) -> h11.Request | None:
        """The next request; None if the client has left or sends none in time. Raises _RefusedError."""
        has_begun = False
        with trio.CancelScope(deadline=trio.current_time() + patience) as scope:
            self._waiting[seat] = None
            try:
                while True:
                    event = machine.next_event()
                    if isinstance(event, h11.Request):
                        return event
                    if isinstance(event, h11.ConnectionClosed):
                        return None
                    # A client that pipelines has begun its next request before the wait for it.
                    if not has_begun and machine.trailing_data[0]:
                        has_begun = True
                        scope.deadline = min(scope.deadline, trio.current_time() + self._limits.head)
                    machine.receive_data(bytes(await stream.receive_some(_CHUNK)))
            except h11.RemoteProtocolError as error:
                raise _RefusedError(error.error_status_hint, str(error)) from error
            finally:
                self._waiting.pop(seat, None)
        if has_begun:
            raise _RefusedError(408, "the request head did not arrive in time")
        return None

    async def _page_for(self, request: h11.Request, certificate: bytes | None) -> Page | Streamed:
        target = _origin_form(request.target.decode("latin-1"))
        asked = Request(
            method=request.method.decode("ascii"),
            target=target,
            headers=tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers),
            certificate=certificate,
        )
        try:
            return await self._answer(asked)
        except Exception:
            self._log.exception("a page failed", target=target.partition("?")[0])
            return Page(status=500, body=b"internal error\n")

    async def _stream(
        self, machine: h11.Connection, stream: trio.abc.Stream, response: Streamed, *, is_head: bool
    ) -> None:
        """Send a response piece by piece, the last of its connection."""
        await self._send_data(stream, machine.send(_head(response, ends=True)))
        if is_head:
            return
        failed = False

        async def send(piece: bytes) -> None:
            # The client has its time for each part, however large a piece is.
            for start in range(0, len(piece), _PART):
                part = piece[start : start + _PART]
                if not await self._send_data(stream, machine.send(h11.Data(data=part))):
                    scope.cancel()
                    await trio.lowlevel.checkpoint()

        async def notice_end() -> None:
            with suppress(trio.BrokenResourceError):
                while await stream.receive_some(_CHUNK):
                    pass
            scope.cancel()

        with trio.CancelScope() as scope:
            async with background(notice_end):
                try:
                    await response.run(send)
                except trio.BrokenResourceError:
                    raise
                except Exception:
                    # Without its last chunk the client sees that it was cut off.
                    self._log.exception("a streamed page failed")
                    failed = True
        if not failed and not scope.cancelled_caught:
            await self._send_data(stream, machine.send(h11.EndOfMessage()))

    async def _send_data(self, stream: trio.abc.SendStream, data: bytes | None) -> bool:
        """Send; returns whether the client took it in time."""
        with trio.move_on_after(self._limits.write):
            await stream.send_all(data or b"")
            return True
        return False

    async def _send(
        self, machine: h11.Connection, stream: trio.abc.SendStream, page: Page, *, ends: bool, is_head: bool = False
    ) -> bool:
        """Send a response, the last of the connection if it `ends`; returns whether the client took it in time."""
        body = b"" if is_head else page.body
        events = (_head(page, ends=ends), h11.Data(data=body), h11.EndOfMessage())
        data = b"".join(machine.send(event) or b"" for event in events)
        return await self._send_data(stream, data)


def _head(page: Page | Streamed, *, ends: bool) -> h11.Response:
    """The head of a response, the last of the connection if it `ends`."""
    fields = [("date", email.utils.formatdate(usegmt=True)), *page.fields()]
    if ends:
        fields.append(("connection", "close"))
    return h11.Response(
        status_code=page.status,
        reason=http.HTTPStatus(page.status).phrase.encode(),
        headers=[(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields],
    )


def _has_body(machine: h11.Connection) -> bool:
    """Whether the request goes on after its head; what it says there is not read."""
    try:
        return not isinstance(machine.next_event(), h11.EndOfMessage)
    except h11.RemoteProtocolError:
        return True


def _origin_form(target: str) -> str:
    """The path and query of a target. Proxies are addressed by whole URLs, and a server must accept those too."""
    if not target.lower().startswith(("http://", "https://")):
        return target
    try:
        parts = urlsplit(target)
    except ValueError:
        return target
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


async def serve_pages(
    respond: Respond,
    address: tuple[str, int],
    *,
    log: Logger,
    limits: HttpLimits | None = None,
    listeners: Sequence[trio.SocketListener] | None = None,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """As `serve_answers`; clients get what `respond` returns for the target of their request."""
    await serve_answers(
        from_memory(respond), address, log=log, limits=limits, listeners=listeners, task_status=task_status
    )


async def serve_answers(
    answer: Answer,
    address: tuple[str, int],
    *,
    log: Logger,
    limits: HttpLimits | None = None,
    listeners: Sequence[trio.SocketListener] | None = None,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve over plain HTTP until cancelled, which closes all connections at once.

    Reports its URL once it answers. `listeners` are open at the address already; without them, raises OSError if the
    address cannot be used. Clients get what `answer` returns; a failure of it is logged, and the server goes on.
    """
    host, port = address
    listeners = listeners or await open_at(host, port)
    bound: int = listeners[0].socket.getsockname()[1]
    server = HttpServer(answer, log, limits)
    task_status.started(f"http://[{host}]:{bound}" if ":" in host else f"http://{host}:{bound}")
    await trio.serve_listeners(server.converse, list(listeners))
