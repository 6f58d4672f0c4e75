"""Connects to services by gRPC.

Each connection is dialled with the roots of trust and the proxy as they are then: a certificate authority that
was added counts from the next attempt on. Proxies are those of the environment that the transport is given
(`nodespan.discovery.proxy`). A failed call says which step of it failed: the channel goes them one by one.
"""

import os
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any, TypeVar

import attrs
from google.protobuf.message import DecodeError, Message

from nodespan.discovery.client import Connection, TransportError
from nodespan.discovery.endpoint_url import DialAddress
from nodespan.discovery.message_limits import MOST_BYTES, check_message
from nodespan.discovery.proxy import ProxyError, proxy_for
from nodespan.discovery.wire import server_pb2
from nodespan.runtime.api.grpc.client import (
    Call,
    CallError,
    Channel,
    ChannelOptions,
    Endpoint,
    Stage,
    client_context,
    open_channel,
    system_roots,
)

_SERVICE = "/sidero.discovery.server.Cluster/"
_CALL_LIMIT = 30.0
_PING_TIMEOUT = 20.0
# Pings are few, for services refuse more. The kernel's probes show within ten seconds that a service is gone without a
# word, as one whose machine has lost its power or has another address: no later than a node gives up a silent peer.
_PROBE_AFTER, _PROBE_TIMEOUT = 4.0, 6.0
# Less than a client gives a hello, so that the step which takes long can be named.
CONNECT_TIMEOUT = 8.0

Answer = TypeVar("Answer", bound=Message)


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

        Raises TransportError for a proxy that cannot be used.
        """
        # A full cluster is a little more than the 4 MiB that are usual.
        options = ChannelOptions(keepalive=keepalive, max_message=MOST_BYTES)
        async with self.channel(target, options) as channel:
            yield GrpcConnection(channel)

    @asynccontextmanager
    async def channel(self, target: DialAddress, options: ChannelOptions) -> AsyncIterator[Channel]:
        """A channel, for calls of any service there, which notices early that the other end is gone.

        Raises TransportError for a proxy that cannot be used.
        """
        try:
            proxy = proxy_for(target, self._environment())
        except ProxyError as error:
            raise TransportError("BAD_PROXY", str(error), Stage.PROXY) from error
        options = attrs.evolve(
            options,
            connect_timeout=CONNECT_TIMEOUT,
            keepalive_timeout=_PING_TIMEOUT,
            probe_after=_PROBE_AFTER,
            probe_timeout=_PROBE_TIMEOUT,
        )
        endpoint = Endpoint(target.host, target.port, secure=not target.insecure)
        tls = partial(_trusting, self._extra_roots())
        async with open_channel([endpoint], tls=tls, proxy=lambda _: proxy, options=options) as channel:
            yield channel


def _trusting(extra_roots: bytes) -> "ssl.SSLContext":
    return client_context(roots=system_roots() + b"\n" + extra_roots)


class GrpcConnection:
    """One channel to a service."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def hello(self, request: server_pb2.HelloRequest) -> server_pb2.HelloResponse:
        """Say hello. Raises TransportError."""
        return await self._call("Hello", request, server_pb2.HelloResponse)

    async def update(self, request: server_pb2.AffiliateUpdateRequest) -> None:
        """Send an affiliate. Raises TransportError."""
        await self._call("AffiliateUpdate", request, server_pb2.AffiliateUpdateResponse)

    async def delete(self, request: server_pb2.AffiliateDeleteRequest) -> None:
        """Have an affiliate forgotten. Raises TransportError."""
        await self._call("AffiliateDelete", request, server_pb2.AffiliateDeleteResponse)

    async def _call(self, method: str, request: Message, answer: type[Answer]) -> Answer:
        with _failures_told():
            return await self._channel.unary(f"{_SERVICE}{method}", request, answer.FromString, timeout=_CALL_LIMIT)

    @asynccontextmanager
    async def watch(self, request: server_pb2.WatchRequest) -> AsyncIterator[AsyncIterator[server_pb2.WatchResponse]]:
        """The messages of a watch, until the service ends it. Iterating raises TransportError, and ExcessError."""
        with _failures_told():
            async with self._channel.stream(f"{_SERVICE}Watch", request, _message_of_a_watch) as call:
                yield _Messages(call)


class _Messages:
    """What is left to read of a watch."""

    def __init__(self, call: Call[server_pb2.WatchResponse]) -> None:
        self._call = call

    def __aiter__(self) -> "_Messages":
        return self

    async def __anext__(self) -> server_pb2.WatchResponse:
        with _failures_told():
            return await anext(self._call)


def _message_of_a_watch(data: bytes) -> server_pb2.WatchResponse:
    # Counted before it is parsed.
    check_message(data)
    try:
        return server_pb2.WatchResponse.FromString(data)
    except (DecodeError, UnicodeDecodeError) as error:
        raise TransportError("INVALID_MESSAGE", f"it sent what is no message of a watch: {error}") from error


@contextmanager
def _failures_told() -> Iterator[Any]:
    try:
        yield
    except CallError as error:
        raise TransportError(error.code.name, str(error), error.stage) from error
