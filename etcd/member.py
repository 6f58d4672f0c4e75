"""One member of etcd: calls and streams over its channel, and their failures in words."""

import contextlib
import os
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Generic, TypeVar

import attrs
import trio
from google.protobuf.message import DecodeError, Message

from nodespan.etcd.endpoint import CLIENT_PORT
from nodespan.etcd.errors import AuthError, EtcdError, MemberFailedError, TLSFilesError, status_error
from nodespan.etcd.login import Credentials, Login
from nodespan.etcd.methods import AUTHENTICATE, Answer, Method
from nodespan.etcd.tls_files import TLSFiles
from nodespan.etcd.wire import etcd_pb2 as wire
from nodespan.runtime.api.grpc.client import (
    Call,
    CallError,
    Channel,
    ChannelOptions,
    Endpoint,
    Metadata,
    Stage,
    TrustError,
)
from nodespan.runtime.api.grpc.client.dial import Dialer
from nodespan.runtime.api.grpc.status import Code
from nodespan.runtime.backoff import Exponential

# Requests that are repeated redial nearly as often. Ranges may be large; etcd refuses more frequent pings.
_OPTIONS = ChannelOptions(
    connect_timeout=2.0,
    keepalive=10.0,
    keepalive_timeout=3.0,
    max_message=256 << 20,
    backoff=Exponential(base=0.05, cap=0.2),
)

# How a channel describes a server that speaks HTTP, but not gRPC.
_WORDS_OF_HTTP = ("it answers with HTTP status ", "it does not speak HTTP/2")

Parsed = TypeVar("Parsed")


class Member:
    """The member at an endpoint; its connection lives in the nursery.

    Calls raise MemberFailedError, or the error of the answer.
    """

    def __init__(self, endpoint: str, tls: TLSFiles, credentials: Credentials | None, nursery: trio.Nursery) -> None:
        self.endpoint = endpoint
        self._tls = tls
        self._where = Endpoint.parse(endpoint)
        self._channel = Channel([self._where], Dialer(tls=self._context), _OPTIONS, nursery, None)
        self._login = None if credentials is None else Login(credentials, self._authenticate)

    async def ask(
        self, method: Method[Answer], request: Message, parse: Callable[[Answer], Parsed], *, within: float
    ) -> Parsed:
        """Call a method, and read its answer, for so many seconds at most."""
        began = trio.current_time()
        with trio.move_on_after(within):
            answer = await self._ask(method, request, within)
            if answer is not None:
                return _read(method, answer, parse)
        # What it does not answer on may be a connection that is gone: the next call has a new one.
        if self._channel.since <= began:
            self._channel.reconnect()
        raise MemberFailedError(silent(within))

    async def _ask(self, method: Method[Answer], request: Message, within: float) -> bytes | None:
        """The answer, None if there is none in time."""
        for is_last in (False, False, True):
            token = await self._token()
            try:
                return await self._call(method, request, token, within)
            except CallError as error:
                if error.stage is Stage.DEADLINE:
                    return None
                if is_last or self._login is None or not self._login.is_over(token, str(error)):
                    raise self._failure(error) from None
        return None

    @contextlib.asynccontextmanager
    async def stream(
        self, method: Method[Answer], request: Message, parse: Callable[[Answer], Parsed]
    ) -> AsyncIterator["Answers[Parsed]"]:
        """The answers to one request, for as long as the block. Nothing in it has a time-out."""
        token = await self._token()
        with self.failures_told():
            async with self._channel.open(method.path, bytes, metadata=_metadata(token)) as call:
                await call.send(request)
                yield Answers(self, call, lambda data: _read(method, data, parse), token)

    def is_login_over(self, token: str, reason: str) -> bool:
        """Whether a stream with this token has ended for this reason because the token is over."""
        return self._login is not None and self._login.is_over(token, reason)

    async def _token(self) -> str:
        if self._login is None:
            return ""
        try:
            return await self._login.token()
        except CallError as error:
            raise self._failure(error) from None
        except (OSError, UnicodeError) as error:
            reason = (error.strerror if isinstance(error, OSError) else "") or str(error)
            text = f"the password of this client cannot be read: {reason.lower()}"
            raise AuthError(text, Code.UNAUTHENTICATED) from None

    async def _authenticate(self, request: wire.AuthenticateRequest) -> wire.AuthenticateResponse:
        return await self._channel.unary(AUTHENTICATE.path, request, AUTHENTICATE.answer.FromString)

    async def _call(self, method: Method[Answer], request: Message, token: str, within: float) -> bytes:
        metadata = _metadata(token)
        if not method.is_stream:
            return await self._channel.unary(method.path, request, bytes, timeout=within, metadata=metadata)
        async with self._channel.open(method.path, bytes, timeout=within, metadata=metadata) as call:
            await call.send(request)
            answer = await call.receive()
            if answer is None:
                raise CallError(Code.INTERNAL, "it has ended the stream without an answer", endpoint=call.endpoint)
            return answer

    def _context(self) -> "ssl.SSLContext":
        try:
            context = self._tls.context()
        except TLSFilesError as error:
            raise TrustError(str(error)) from None
        context.set_alpn_protocols(["h2"])
        return context

    # Failures.

    @contextlib.contextmanager
    def failures_told(self) -> Iterator[None]:
        """Within the block failed calls are errors of etcd."""
        try:
            yield
        except CallError as error:
            raise self._failure(error) from None

    def _failure(self, error: CallError) -> EtcdError:
        if error.trailers:
            return status_error(str(error), error.code)
        if error.stage is Stage.HTTP:
            if error.code in (Code.UNAUTHENTICATED, Code.PERMISSION_DENIED):
                return AuthError(str(error), error.code)
            hint = self._hint() if str(error).startswith(_WORDS_OF_HTTP) else ""
            return MemberFailedError(f"{error}{hint}", was_sent=not error.is_unsent)
        return MemberFailedError(self._reason(error), was_sent=not error.is_unsent)

    def _hint(self) -> str:
        """What to give instead of an HTTP port."""
        if self._where.port == CLIENT_PORT:
            return ""
        scheme = "https" if self._where.secure else "http"
        meant = attrs.evolve(self._where, port=CLIENT_PORT)
        return f": is this etcd's HTTP port? Give the port for clients ({scheme}://{meant})"

    def _reason(self, error: CallError) -> str:
        """What lies at the bottom of a failure."""
        cause = error.__cause__
        # Without TLS that is not loaded for the failure.
        is_secure = self._where.secure
        if is_secure and isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted ({cause.verify_message}): is the CA given its issuer?"
        reason = str(error)
        if is_secure and isinstance(cause, ssl.SSLError) and cause.reason:
            reason = f"TLS failed: {cause.reason.lower().replace('_', ' ')}"
        elif isinstance(cause, OSError) and cause.errno:
            reason = os.strerror(cause.errno).lower()
        # TLS 1.3 lets a client find out only after its handshake, and not always by a proper alert.
        if error.stage is Stage.TLS and is_secure and self._tls.certificate is None:
            reason += " (it may want a client certificate, and none is given)"
        return reason


class Answers(Generic[Parsed]):
    """The answers in a stream, to be iterated by one task."""

    def __init__(self, member: Member, call: Call[bytes], read: Callable[[bytes], Parsed], token: str) -> None:
        self._member = member
        self._call = call
        self._read = read
        self._token = token

    def __aiter__(self) -> "Answers[Parsed]":
        return self

    async def __anext__(self) -> Parsed:
        with self._member.failures_told():
            data = await self._call.receive()
        if data is None:
            raise StopAsyncIteration
        return self._read(data)

    def is_login_over(self, reason: str) -> bool:
        """Whether what the stream has ended with is a token that is over: a new stream has a new one."""
        return self._member.is_login_over(self._token, reason)


def _metadata(token: str) -> Metadata:
    return (("token", token),) if token else ()


def _read(method: Method[Answer], data: bytes, parse: Callable[[Answer], Parsed]) -> Parsed:
    try:
        return parse(method.answer.FromString(data))
    except (DecodeError, ValueError):
        raise MemberFailedError("it does not answer like etcd") from None


def silent(seconds: float) -> str:
    """The reason of a member that has not answered."""
    return f"no answer within {seconds:.1f} s"
