"""Connects to a discovery service by gRPC.

Calls and their answers are grpcio's, which has threads of its own; here they become awaitable and can be cancelled. A
unary call waits for no thread: grpcio tells when it is done. A watch has one worker thread, which hands each message
over and waits until it was taken, so that a slow reader slows the service down and does not fill the memory. It ends
with the watch.

Each connection is dialled anew, with the roots of trust and the proxy as they are then: a certificate authority that
was added counts from the next attempt on. Proxies are those of the environment that the transport is given
(`nodespan.discovery.proxy`); they are asked to CONNECT. SOCKS is not provided.
"""

import os
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import trio
from google.protobuf.message import DecodeError

from nodespan.discovery.client import Connection, Stage, TransportError
from nodespan.discovery.diagnosis import find_cause
from nodespan.discovery.endpoint_url import DialAddress
from nodespan.discovery.message_limits import MOST_BYTES, ExcessError, check_message
from nodespan.discovery.proxy import ProxyError, proxy_for
from nodespan.discovery.wire import server_pb2

_SERVICE = "/sidero.discovery.server.Cluster/"
_CALL_LIMIT = 30.0
_PING_TIMEOUT = 20.0
# How grpcio words the answer of a server, or of a proxy before it, that speaks HTTP but not gRPC.
_HTTP_STATUS = re.compile(r"(?:http2? (?:header with )?status|HTTP status(?: code)?): (\d{3})", re.IGNORECASE)
# A full cluster is a little more than the 4 MiB that are grpcio's limit.
_LARGEST_MESSAGE = MOST_BYTES

# Where systems keep their certificate authorities, in one file.
_SYSTEM_ROOTS = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Arch, Gentoo
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # Fedora, RHEL
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/etc/ssl/cert.pem",  # Alpine, and others
)


def system_roots() -> bytes:
    """The certificate authorities of the system as PEM, of $SSL_CERT_FILE where that is set. Blocks on the disk.

    Raises TransportError if there is no such file: then nobody could be trusted.
    """
    chosen = os.environ.get("SSL_CERT_FILE")
    for path in (chosen,) if chosen else _SYSTEM_ROOTS:
        try:
            return Path(path).read_bytes()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise TransportError("NO_ROOTS", f"the certificate authorities cannot be read: {error}") from error
    where = chosen or "any of the places where systems keep them"
    raise TransportError(
        "NO_ROOTS",
        f"no certificate authorities in {where}: install ca-certificates, or point SSL_CERT_FILE at a bundle",
    )


class GrpcTransport:
    """Connects by gRPC.

    On each connection attempt, `extra_roots` gives more certificate authorities, as PEM, and `environment` the
    variables that name proxies: unless given, those of this process.
    """

    def __init__(
        self,
        extra_roots: Callable[[], bytes] = lambda: b"",
        environment: Callable[[], Mapping[str, str]] = lambda: os.environ,
    ) -> None:
        self._extra_roots = extra_roots
        self._environment = environment

    @asynccontextmanager
    async def connect(self, target: DialAddress, *, keepalive: float) -> AsyncIterator[Connection]:
        """A connection for as long as the block lasts. Nothing is dialled before the first call.

        Raises TransportError for trust or a proxy that cannot be used.
        """
        options = (*_options(keepalive), *_proxy_options(target, self._environment()))
        # The resolver is named, so that an address that the service redirects to can only be a host and a port.
        name = f"dns:///{target.address}"
        if target.insecure:
            channel = grpc.insecure_channel(name, options)
        else:
            # The file is read beside the loop; what the configuration adds is at hand.
            roots = await trio.to_thread.run_sync(system_roots, abandon_on_cancel=True)
            credentials = grpc.ssl_channel_credentials(roots + b"\n" + self._extra_roots())
            channel = grpc.secure_channel(name, credentials, options)
        try:
            yield GrpcConnection(channel)
        finally:
            channel.close()

    async def explain(self, target: DialAddress, error: TransportError) -> TransportError:
        """Go the way to the service step by step, and say which of them fails; the error if none does."""
        try:
            proxy = proxy_for(target, self._environment())
            roots = b""
            if not target.insecure:
                roots = await trio.to_thread.run_sync(system_roots, abandon_on_cancel=True)
        except (ProxyError, TransportError):
            return error  # that is what the error says
        cause = await find_cause(target, proxy, roots + b"\n" + self._extra_roots())
        if cause is not None:
            return TransportError(error.code, cause.message, cause.stage)
        status = _HTTP_STATUS.search(error.details)
        if status is not None:
            return TransportError(error.code, f"it answers with HTTP status {status[1]}, not like gRPC", Stage.HTTP)
        return error


def _options(keepalive: float) -> tuple[tuple[str, int], ...]:
    return (
        ("grpc.keepalive_time_ms", round(keepalive * 1000)),
        ("grpc.keepalive_timeout_ms", round(_PING_TIMEOUT * 1000)),
        ("grpc.keepalive_permit_without_calls", 0),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.max_receive_message_length", _LARGEST_MESSAGE),
        # Connections are the client's own: it decides when to try again, and two clients do not share one.
        ("grpc.use_local_subchannel_pool", 1),
    )


def _proxy_options(target: DialAddress, environment: Mapping[str, str]) -> tuple[tuple[str, str | int], ...]:
    try:
        proxy = proxy_for(target, environment)
    except ProxyError as error:
        raise TransportError("BAD_PROXY", str(error)) from error
    return (("grpc.enable_http_proxy", 0),) if proxy is None else (("grpc.http_proxy", proxy),)


class GrpcConnection:
    """One channel to a service. Use it from the trio thread that made it."""

    def __init__(self, channel: grpc.Channel) -> None:
        messages = server_pb2
        self._hello = _unary(channel, "Hello", messages.HelloRequest, messages.HelloResponse)
        self._update = _unary(
            channel, "AffiliateUpdate", messages.AffiliateUpdateRequest, messages.AffiliateUpdateResponse
        )
        self._delete = _unary(
            channel, "AffiliateDelete", messages.AffiliateDeleteRequest, messages.AffiliateDeleteResponse
        )
        self._watch = channel.unary_stream(
            f"{_SERVICE}Watch",
            request_serializer=messages.WatchRequest.SerializeToString,
            # Counted before it is parsed, see _pump.
            response_deserializer=None,
        )

    async def hello(self, request: server_pb2.HelloRequest) -> server_pb2.HelloResponse:
        """Say hello. Raises TransportError."""
        response: server_pb2.HelloResponse = await _call(self._hello, request)
        return response

    async def update(self, request: server_pb2.AffiliateUpdateRequest) -> None:
        """Send an affiliate. Raises TransportError."""
        await _call(self._update, request)

    async def delete(self, request: server_pb2.AffiliateDeleteRequest) -> None:
        """Have an affiliate forgotten. Raises TransportError."""
        await _call(self._delete, request)

    @asynccontextmanager
    async def watch(self, request: server_pb2.WatchRequest) -> AsyncIterator[AsyncIterator[server_pb2.WatchResponse]]:
        """The messages of a watch, until the service ends it. Iterating raises TransportError, and ExcessError."""
        call = self._watch(request)
        messages, received = trio.open_memory_channel[server_pb2.WatchResponse](0)
        stream = _Stream(received)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_pump, call, messages, stream)
            try:
                yield stream
            finally:
                # Ends the worker, wherever it waits: for the service or for a reader.
                call.cancel()
                received.close()


class _Stream:
    """What is left to read of a watch, and how it ended."""

    def __init__(self, messages: trio.MemoryReceiveChannel[server_pb2.WatchResponse]) -> None:
        self._messages = messages
        self.error: TransportError | ExcessError | None = None

    def __aiter__(self) -> "_Stream":
        return self

    async def __anext__(self) -> server_pb2.WatchResponse:
        try:
            return await self._messages.receive()
        except trio.EndOfChannel:
            if self.error is not None:
                raise self.error from None
            raise StopAsyncIteration from None


async def _pump(call: Any, messages: trio.MemorySendChannel[server_pb2.WatchResponse], stream: _Stream) -> None:
    def work() -> None:
        try:
            for data in call:
                check_message(data)
                trio.from_thread.run(messages.send, server_pb2.WatchResponse.FromString(data))
        except grpc.RpcError as error:
            stream.error = _transport_error(error)
        except ExcessError as error:
            stream.error = error
        except (DecodeError, UnicodeDecodeError) as error:
            stream.error = TransportError("INVALID_MESSAGE", f"it sent what is no message of a watch: {error}")
        except (trio.BrokenResourceError, trio.Cancelled):
            return  # the reader is gone

    # A thread of its own, not one of the shared limit: it lives as long as the watch.
    async with messages:
        await trio.to_thread.run_sync(work, limiter=trio.CapacityLimiter(1))


def _unary(channel: grpc.Channel, method: str, request: Any, response: Any) -> Any:
    return channel.unary_unary(
        f"{_SERVICE}{method}",
        request_serializer=request.SerializeToString,
        response_deserializer=response.FromString,
    )


async def _call(method: Any, request: Any) -> Any:
    done = trio.Event()
    token = trio.lowlevel.current_trio_token()

    def tell(_call: Any) -> None:
        try:
            token.run_sync_soon(done.set)
        except trio.RunFinishedError:
            return  # a cancelled call may end after everything else

    call = method.future(request, timeout=_CALL_LIMIT)
    call.add_done_callback(tell)
    try:
        await done.wait()
    finally:
        call.cancel()
    try:
        return call.result()
    except grpc.RpcError as error:
        raise _transport_error(error) from error


def _transport_error(error: Any) -> TransportError:
    code = error.code().name
    stage = Stage.DEADLINE if code == "DEADLINE_EXCEEDED" else Stage.SERVICE
    return TransportError(code, error.details() or "", stage)
