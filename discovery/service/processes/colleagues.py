"""Calls between the processes of one service: what another one has to answer, and what all have a part of."""

import json
import math
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from urllib.parse import parse_qs

import attrs
import msgpack
import trio
from google.protobuf.wrappers_pb2 import BytesValue, StringValue

from nodespan.discovery.service.metrics import PROCESSES, Metrics, is_scrape
from nodespan.discovery.service.processes.combining import combined, from_plain, to_plain
from nodespan.discovery.service.processes.team import Team
from nodespan.runtime.api.exposition import scraped
from nodespan.runtime.api.grpc import (
    AtOnce,
    Bounds,
    Call,
    Limits,
    Method,
    RPCError,
    Server,
    Service,
    frame,
    methods,
    unary,
)
from nodespan.runtime.api.grpc.client import CallError, Channel, ChannelOptions, Endpoint, open_channel
from nodespan.runtime.api.pages import Page, RespondTo, answer
from nodespan.runtime.backoff import Exponential
from nodespan.runtime.metrics import Family
from nodespan.runtime.process.logger import Logger

_INTERNAL = "/nodespan.discovery.Internal"
_OPTIONS = ChannelOptions(
    max_message=64 << 20,
    # What is on its way is in memory, and accounted for as held for its client: little of each call, so that a client
    # that does not read holds up its own calls only.
    window=64 << 10,
    max_buffered=256 << 20,
    backoff=Exponential(base=0.05, cap=0.5),
)
# One connection carries the calls of all clients of a process, which have limits there.
_LIMITS = Limits(
    by_source=False,
    max_concurrent_streams=1_000_000,
    max_resets=math.inf,
    incomplete=Bounds(),
    held=Bounds(total=1 << 30),
    work=Bounds(),
)
# What another process may take, in seconds, to say what it counted, and to answer a call.
_PATIENCE = 5.0
_CALL = 30.0
Pages = Callable[[str], Page | Awaitable[Page]]


class Colleagues:
    """The other processes of a team."""

    def __init__(self, team: Team, channels: dict[int, Channel], log: Logger) -> None:
        self._team = team
        self._channels = channels
        self._log = log

    # Calls of clients.

    def routed(self, given: dict[str, Method]) -> dict[str, Method]:
        """The methods, of which those of another process's clusters are called there."""
        return {path: attrs.evolve(method, handler=self._routed(method)) for path, method in given.items()}

    def _routed(self, method: Method) -> Callable[[Any, Call], Awaitable[Any]]:
        def is_own(request: Any) -> bool:
            return method.name == "Hello" or self._team.other_owner(request.cluster_id) is None

        async def handler(request: Any, call: Call) -> Any:
            # Hello says who the client is, which this process knows.
            owner = None if method.name == "Hello" else self._team.other_owner(request.cluster_id)
            if owner is None:
                return await method.handler(request, call)
            try:
                if method.is_stream:
                    return await self._stream(owner, method, request, call)
                return await self._channels[owner].unary(method.path, request, frame, timeout=_CALL, wait=True)
            except CallError as error:
                raise RPCError(error.code, str(error)) from error

        return AtOnce(handler, is_own) if method.at_once is not None else handler

    async def _stream(self, owner: int, method: Method, request: Any, call: Call) -> None:
        channel = self._channels[owner]
        async with channel.stream(method.path, request, bytes, wait=True, account=call.held) as there:
            async for message in there:
                await call.send_framed(frame(message))

    # Pages.

    def pages(self, own: Pages) -> Pages:
        """The pages of the whole service, of which each process has a part."""

        async def respond(target: str) -> Page:
            path, _, query = target.partition("?")
            if path == "/inspect":
                owner = self._team.other_owner(parse_qs(query).get("clusterID", [""])[0])
                return await (answer(own, "GET", target) if owner is None else self._page(owner, target))
            mine = await answer(own, "GET", target)
            if path != "/stats" or self._team.shares:
                return mine
            parts = [mine, *[await self._page(place, target) for place in self._team.others]]
            total = sum(json.loads(part.body)["affiliates"] for part in parts if part.status == 200)
            return attrs.evolve(mine, body=json.dumps({"affiliates": total}).encode())

        return respond

    async def _page(self, place: int, target: str) -> Page:
        path = f"{_INTERNAL}/Page"
        try:
            plain = await self._channels[place].unary(
                path, StringValue(value=target), _unpacked, timeout=_PATIENCE, wait=True
            )
        except CallError as error:
            self._log.warning("another process does not answer", process=place, error=str(error))
            return Page(status=503, body=b"a part of the service is starting\n")
        status, content_type, headers, body = plain
        pairs = tuple((name, value) for name, value in headers)
        return Page(status=status, content_type=content_type, headers=pairs, body=body)

    def metrics(self, own: Metrics) -> RespondTo:
        """One page for what all processes counted. One that does not answer is missing in it, and in `processes`."""

        async def respond(target: str, accept: str) -> Page:
            if not is_scrape(target):
                return await own.respond(target, accept)
            parts = {self._team.place: own.families()}
            async with trio.open_nursery() as nursery:
                for place in self._team.others:
                    nursery.start_soon(self._add_families, place, parts)
            return await scraped([*combined(parts), PROCESSES(len(parts))], accept)

        return respond

    async def _add_families(self, place: int, parts: dict[int, list[Family]]) -> None:
        try:
            plain = await self._channels[place].unary(
                f"{_INTERNAL}/Families", StringValue(), _unpacked, timeout=_PATIENCE, wait=True
            )
        except CallError as error:
            self._log.warning("another process does not answer", process=place, error=str(error))
        else:
            parts[place] = from_plain(plain)


def internal_methods(metrics: Metrics, pages: Pages) -> dict[str, Method]:
    """What this process answers to the others, beside the calls of clients."""

    async def families(_request: StringValue, _call: Call) -> BytesValue:
        return _packed(to_plain(metrics.families()))

    async def a_page(request: StringValue, _call: Call) -> BytesValue:
        found = await answer(pages, "GET", request.value)
        return _packed((found.status, found.content_type, found.headers, found.body))

    return methods(
        unary(f"{_INTERNAL}/Families", StringValue, families), unary(f"{_INTERNAL}/Page", StringValue, a_page)
    )


async def answer_colleagues(
    team: Team, given: dict[str, Method], log: Logger, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Answer the calls of the other processes, until cancelled."""
    path = team.calls_at(team.place)
    path.unlink(missing_ok=True)
    with trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        await listening.bind(str(path))
        listening.listen(128)
        server = Server(Service(methods=given, log=log, limits=_LIMITS))
        await server.serve([trio.SocketListener(listening)], grace=0.0, task_status=task_status)


@asynccontextmanager
async def open_colleagues(team: Team, log: Logger) -> AsyncIterator[Colleagues]:
    """The other processes, which need not be there yet."""
    async with AsyncExitStack() as stack:
        channels = {
            place: await stack.enter_async_context(
                open_channel([Endpoint.unix(str(team.calls_at(place)))], options=_OPTIONS)
            )
            for place in team.others
        }
        yield Colleagues(team, channels, log)


def _packed(value: object) -> BytesValue:
    return BytesValue(value=msgpack.packb(value))


def _unpacked(data: bytes) -> Any:
    return msgpack.unpackb(BytesValue.FromString(data).value)
