"""The members of an etcd cluster as one: fail-over and time-outs in one place.

Theory of operation. An idempotent request goes to the member that served last. If it fails there, or is not answered
within a moment, the next member gets it too, and so on in turn until the time is over, while earlier ones may still
answer. So a stopped member costs a moment, not the time-out, and a slow answer counts. Members that do not answer get
the request again because of the elections of etcd's own leader: a request from before the election waits in its member
for a second after it, a new one is served at once. The first answer wins, and its member gets the next request first.

A request that is not idempotent goes to the next member only while it is certain that no member has received it.
"""

import contextlib
import itertools
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, TypeVar

import trio
from google.protobuf.message import Message

from nodespan.etcd.endpoint import parse_endpoint
from nodespan.etcd.errors import EndpointError, EtcdError, MemberFailedError, UnavailableError
from nodespan.etcd.login import Credentials
from nodespan.etcd.member import Answers, Member, silent
from nodespan.etcd.methods import Answer, Method
from nodespan.etcd.tls_files import TLSFiles
from nodespan.etcd.values import Header, RangeAnswer
from nodespan.etcd.wire import etcd_pb2 as wire
from nodespan.runtime.background import background_tasks

TIMEOUT = 1.5
# After this time without an answer the next member gets the request too.
_PATIENCE = 0.25
# After a failure, once all have had the request.
_PAUSE = 0.1

Parsed = TypeVar("Parsed")


class Members:
    """The members behind these endpoints. An async context manager; the connections live as long as its block."""

    def __init__(
        self,
        endpoints: Sequence[str],
        *,
        tls: TLSFiles | None,
        credentials: Credentials | None,
        timeout: float,
    ) -> None:
        self.endpoints = tuple(dict.fromkeys(map(parse_endpoint, endpoints)))
        if not self.endpoints:
            raise EndpointError("etcd needs at least one endpoint")
        self.timeout = timeout
        self._tls = tls or TLSFiles()
        self._credentials = credentials
        self._resources = contextlib.AsyncExitStack()
        self._members: dict[str, Member] = {}
        self._first = 0
        self._reads: dict[str, list[Callable[[], Callable[[Header], None]]]] = {}

    async def __aenter__(self) -> "Members":
        if self._tls != TLSFiles() or any(endpoint.startswith("https:") for endpoint in self.endpoints):
            # Unusable files are reported before the first request.
            await trio.to_thread.run_sync(self._tls.context, abandon_on_cancel=True)
        else:
            await trio.lowlevel.checkpoint()
        nursery = await self._resources.enter_async_context(background_tasks())
        for endpoint in self.endpoints:
            self._members[endpoint] = Member(endpoint, self._tls, self._credentials, nursery)
        return self

    async def __aexit__(self, *raised: Any) -> bool | None:
        return await self._resources.__aexit__(*raised)

    @property
    def in_order(self) -> tuple[str, ...]:
        """The endpoints in the order in which they are tried."""
        return self.endpoints[self._first :] + self.endpoints[: self._first]

    def prefer(self, endpoint: str) -> None:
        """Ask this one first from now on."""
        self._first = self.endpoints.index(endpoint)

    def avoid(self, endpoint: str) -> None:
        """Ask the one after this first, if this one was."""
        if self.in_order[0] == endpoint:
            self._first = (self._first + 1) % len(self.endpoints)

    async def call(
        self,
        method: Method[Answer],
        request: Message,
        parse: Callable[[Answer], Parsed],
        *,
        repeat: bool,
        within: float | None = None,
    ) -> Parsed:
        """Ask until a member answers, at most for `within` seconds. `repeat`: the request is idempotent.

        Raises UnavailableError, or the error of the answer.
        """
        limit = self.timeout if within is None else within
        ask = self._anyone if repeat else self._once
        return await ask(lambda endpoint: self.ask(endpoint, method, request, parse, within=limit), limit)

    async def ask(
        self,
        endpoint: str,
        method: Method[Answer],
        request: Message,
        parse: Callable[[Answer], Parsed],
        *,
        within: float | None = None,
    ) -> Parsed:
        """Ask this member only. Raises MemberFailedError, or the error of the answer."""
        limit, told = self.timeout if within is None else within, []
        if isinstance(request, wire.RangeRequest) and not request.serializable:
            told = [(begin, begin()) for begin in self._reads.get(endpoint, ())]
        answer = await self._members[endpoint].ask(method, request, parse, within=limit)
        if isinstance(answer, RangeAnswer):
            for begin, answered in told:
                # Its block may have ended meanwhile.
                if begin in self._reads[endpoint]:
                    answered(answer.header)
        return answer

    @contextlib.contextmanager
    def reads_told(self, endpoint: str, begin: Callable[[], Callable[[Header], None]]) -> Iterator[None]:
        """Within the block `begin` is called when this client asks this member for a linearizable read.

        What it returns is called with the header of the answer, if there is one within the block; reads of several
        tasks are answered in any order. Each block needs a `begin` of its own.
        """
        told = self._reads.setdefault(endpoint, [])
        told.append(begin)
        try:
            yield
        finally:
            told.remove(begin)

    def stream(
        self, endpoint: str, method: Method[Answer], request: Message, parse: Callable[[Answer], Parsed]
    ) -> contextlib.AbstractAsyncContextManager[Answers[Parsed]]:
        """Ask this member for a stream, as `Member.stream`: without a time-out."""
        return self._members[endpoint].stream(method, request, parse)

    async def _anyone(self, ask: Callable[[str], Awaitable[Parsed]], limit: float) -> Parsed:
        reasons: dict[str, str] = {}
        outcomes: list[Parsed | EtcdError] = []

        async def attempt(endpoint: str, failed: trio.Event) -> None:
            try:
                outcomes.append(await ask(endpoint))
            except MemberFailedError as error:
                reasons[endpoint] = str(error)
                failed.set()
                return
            except EtcdError as error:
                outcomes.append(error)
            self.prefer(endpoint)
            nursery.cancel_scope.cancel()

        with trio.move_on_after(limit):
            async with trio.open_nursery() as nursery:
                for number, endpoint in enumerate(itertools.cycle(self.in_order)):
                    failed = trio.Event()
                    nursery.start_soon(attempt, endpoint, failed)
                    with trio.move_on_after(_PATIENCE):
                        await failed.wait()
                        if number + 1 >= len(self.endpoints):
                            await trio.sleep(_PAUSE)
        if not outcomes:
            raise UnavailableError({endpoint: reasons.get(endpoint, silent(limit)) for endpoint in self.in_order})
        outcome = outcomes[0]
        if isinstance(outcome, EtcdError):
            raise outcome
        return outcome

    async def _once(self, ask: Callable[[str], Awaitable[Parsed]], limit: float) -> Parsed:
        reasons = {}
        asked = self.in_order[0]
        with trio.move_on_after(limit):
            for asked in self.in_order:
                try:
                    answer = await ask(asked)
                except MemberFailedError as error:
                    reasons[asked] = str(error)
                    self.avoid(asked)
                    if error.was_sent:
                        raise UnavailableError(reasons, maybe_applied=True) from None
                else:
                    self.prefer(asked)
                    return answer
            raise UnavailableError(reasons)
        self.avoid(asked)
        raise UnavailableError({**reasons, asked: silent(limit)}, maybe_applied=True)
