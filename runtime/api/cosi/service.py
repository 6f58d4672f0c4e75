"""`cosi.resource.State`: the State interface over gRPC, byte by byte as the COSI runtime serves it.

A resource is encoded once for all who are sent it, and so is an event. What is sent waits in the state, not here: a
list holds references to resources, a watch its place in the history of its kind, so that a client that reads slowly
costs the bytes of one part of its answer. One that falls behind the history is told so and gets nothing more.
"""

from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from typing import Any

import trio
from google.protobuf.message import Message

from nodespan.runtime.api.cosi.errors import classified
from nodespan.runtime.api.cosi.fan_out import FanOuts, Member
from nodespan.runtime.api.grpc import Call, Code, Limits, Method, RPCError, frame, methods, server_stream, unary
from nodespan.runtime.api.grpc.limits import Bounds
from nodespan.runtime.codec.messages import MessageError, SpecMessages
from nodespan.runtime.codec.resources import FindType, ResourceEncoder, as_text, decode_filter, decode_resource, field
from nodespan.runtime.codec.wire import resource_pb2 as wire
from nodespan.runtime.controller import Logger
from nodespan.runtime.resource import Kind, Phase, Resource
from nodespan.runtime.resource.spec_check import check_spec
from nodespan.runtime.state import ANY_PHASE, Event, EventType, State
from nodespan.runtime.state.base import ExpectedPhase
from nodespan.runtime.state.watching import AggregatedWatch

SERVICE = "cosi.resource.State"
# As many bytes of a list or a batch are put together before they are sent; between two such parts others run.
_PART = 16 << 10
# The events whose messages are kept: enough for watchers that are a few events apart.
_KEPT_EVENTS = 512
_READY = frame(b"")
# Below this version of the interface a client does not know these.
_SINCE_VERSION_1 = (EventType.BOOTSTRAPPED, EventType.ERRORED)
# For a server of this service: Go clients put all their watches on one connection.
# The files of the process are for other things too.
LIMITS = Limits(max_concurrent_streams=10_000, connections=Bounds(source=100, total=400), idle_per_source=50)


class StateService:
    """The methods of the service. `visible` is what a call may see of the state; it may raise RPCError.

    `find_type` is the class of a type's specs, None if this process does not know it: its resources are stored as they
    come, and given back unchanged.
    """

    def __init__(
        self, visible: Callable[[Call], State], *, messages: SpecMessages, find_type: FindType, log: Logger
    ) -> None:
        self._visible = visible
        self._messages = messages
        self._find_type = find_type
        self._log = log
        self._encoder = ResourceEncoder(messages, on_error=self._cannot_express)
        self._fan_outs = FanOuts()
        # By identity, as the encoder does.
        self._framed: OrderedDict[int, tuple[Event, bytes]] = OrderedDict()

    def _cannot_express(self, resource: Resource[Any], error: MessageError) -> None:
        self._log.warning("a spec is sent without its binary form", resource=str(resource), error=str(error))

    def methods(self) -> dict[str, Method]:
        """All methods, by path."""
        return methods(
            unary(f"/{SERVICE}/Get", wire.GetRequest, self._get),
            server_stream(f"/{SERVICE}/List", wire.ListRequest, self._list),
            server_stream(f"/{SERVICE}/Watch", wire.WatchRequest, self._watch),
            unary(f"/{SERVICE}/Create", wire.CreateRequest, self._create),
            unary(f"/{SERVICE}/Update", wire.UpdateRequest, self._update),
            unary(f"/{SERVICE}/Destroy", wire.DestroyRequest, self._destroy),
            unary(f"/{SERVICE}/Teardown", wire.TeardownRequest, self._teardown),
            unary(f"/{SERVICE}/TeardownAndDestroy", wire.TeardownAndDestroyRequest, self._teardown_and_destroy),
        )

    def _answer(self, resource: Resource[Any]) -> bytes:
        # The only field of all answers that have one.
        return frame(field(1, self._encoder.encode(resource)))

    def _decoded(self, message: wire.Resource) -> Resource[Any]:
        resource = decode_resource(message, self._messages, self._find_type)
        spec_class = self._find_type(resource.metadata.type)
        if spec_class is not None:
            check_spec(resource.spec, spec_class, resource.pointer)
        return resource

    # Reads.

    async def _get(self, request: wire.GetRequest, call: Call) -> bytes:
        with classified("Get"):
            found = self._visible(call).get(Kind[Any](request.namespace, request.type), request.id)
            return self._answer(found)

    async def _list(self, request: wire.ListRequest, call: Call) -> None:
        with classified("List"):
            filter = decode_filter(request.options.label_query, request.options.id_query.regexp)
            found = self._visible(call).view(Kind[Any](request.namespace, request.type)).list(filter)
        await self._send(call, (self._answer(resource) for resource in found))

    async def _send(self, call: Call, frames: Iterable[bytes]) -> None:
        """Send messages, in parts: they are made only as they are sent."""
        part: list[bytes] = []
        size = 0
        for data in frames:
            part.append(data)
            size += len(data)
            if size >= _PART:
                await call.send_framed(b"".join(part) if len(part) > 1 else data, len(part))
                part, size = [], 0
        if part:
            # A single message is shared with others that are sent it.
            await call.send_framed(b"".join(part) if len(part) > 1 else part[0], len(part))

    # Writes.

    async def _create(self, request: wire.CreateRequest, call: Call) -> bytes:
        with classified("Create"):
            resource = self._decoded(request.resource)
            return self._answer(await self._visible(call).create(resource, owner=request.options.owner))

    async def _update(self, request: wire.UpdateRequest, call: Call) -> bytes:
        options = request.options
        with classified("Update"):
            expected: ExpectedPhase = ANY_PHASE
            if options.HasField("expected_phase"):
                expected = Phase(options.expected_phase)
            resource = self._decoded(request.new_resource)
            stored = await self._visible(call).update(resource, owner=options.owner, expected_phase=expected)
            return self._answer(stored)

    async def _destroy(self, request: wire.DestroyRequest, call: Call) -> Message:
        with classified("Destroy"):
            kind = Kind[Any](request.namespace, request.type)
            await self._visible(call).destroy(kind, request.id, owner=request.options.owner)
        return wire.DestroyResponse()

    async def _teardown(self, request: wire.TeardownRequest, call: Call) -> Message:
        with classified("Teardown"):
            kind = Kind[Any](request.namespace, request.type)
            ready = await self._visible(call).teardown(kind, request.id, owner=request.options.owner)
        return wire.TeardownResponse(destroy_ready=ready)

    async def _teardown_and_destroy(self, request: wire.TeardownAndDestroyRequest, call: Call) -> Message:
        with classified("TeardownAndDestroy"):
            kind = Kind[Any](request.namespace, request.type)
            await self._visible(call).teardown_and_destroy(kind, request.id, owner=request.options.owner)
        return wire.TeardownAndDestroyResponse()

    # Watches.

    async def _watch(self, request: wire.WatchRequest, call: Call) -> None:
        knows_all = request.api_version >= 1
        with classified("Watch"):
            watch = self._opened(request, self._visible(call))
            batches = await watch.__aenter__()
        try:
            await call.send_framed(_READY)
            is_aggregated = request.options.aggregated and not request.HasField("id")
            if knows_all and isinstance(watch, AggregatedWatch):
                await self._spread(watch, call, is_aggregated=is_aggregated)
            else:
                async for batch in batches:
                    events = batch if knows_all else [event for event in batch if event.type not in _SINCE_VERSION_1]
                    await self._send_batch(call, events, is_aggregated=is_aggregated)
        finally:
            await watch.__aexit__(None, None, None)
        # The watch failed, which the client was told. The call is the client's to end.
        await trio.sleep_forever()

    async def _send_batch(self, call: Call, events: list[Event], *, is_aggregated: bool) -> None:
        if is_aggregated and len(events) != 1:
            await call.send_framed(await self._one_message(events))
        else:
            await self._send(call, map(self._event_frame, events))

    async def _spread(self, watch: AggregatedWatch, call: Call, *, is_aggregated: bool) -> None:
        """Send what is watched until the watch fails: with the others that watch the kind, where it can be."""
        member = Member(call, watch, self._single_frame)
        fan_out = self._fan_outs.join(member)
        try:
            while True:
                batch = await fan_out.next(member)
                await self._send_batch(call, batch, is_aggregated=is_aggregated)
                if batch[-1].error is not None:
                    return
        finally:
            self._fan_outs.leave(member)

    def _single_frame(self, batch: list[Event]) -> bytes | None:
        """The message of a batch of one, which others are sent too."""
        return self._event_frame(batch[0]) if len(batch) == 1 and batch[0].error is None else None

    def _opened(
        self, request: wire.WatchRequest, state: State
    ) -> AbstractAsyncContextManager[AsyncIterator[list[Event]]]:
        options = request.options
        kind = Kind[Any](request.namespace, request.type)
        start_from = options.start_from_bookmark if options.HasField("start_from_bookmark") else None
        tail_events = max(options.tail_events, 0)
        if request.HasField("id"):
            if options.bootstrap_contents or options.label_query:
                raise RPCError(Code.UNIMPLEMENTED, "a watch of one resource has no contents and no label query")
            return _Batches(state.watch(kind, request.id, tail_events=tail_events, start_from=start_from))
        return state.watch_kind_aggregated(
            kind,
            bootstrap_contents=options.bootstrap_contents,
            bootstrap_bookmark=options.bootstrap_bookmark,
            tail_events=tail_events,
            start_from=start_from,
            filter=decode_filter(options.label_query, options.id_query.regexp),
        )

    def _event_frame(self, event: Event) -> bytes:
        key = id(event)
        known = self._framed.get(key)
        if known is not None:
            return known[1]
        data = frame(field(1, self._event(event)))
        self._framed[key] = event, data
        if len(self._framed) > _KEPT_EVENTS:
            self._framed.popitem(last=False)
        return data

    async def _one_message(self, events: list[Event]) -> bytes:
        parts: list[bytes] = []
        size = 0
        for event in events:
            parts.append(field(1, self._event(event)))
            size += len(parts[-1])
            if size >= _PART:
                size = 0
                await trio.lowlevel.checkpoint()
        return frame(b"".join(parts))

    def _event(self, event: Event) -> bytes:
        parts = []
        if event.resource is not None:
            parts.append(field(1, self._encoder.encode(event.resource)))
        if event.type:
            parts.append(bytes((2 << 3, event.type)))
        if event.old is not None:
            parts.append(field(3, self._encoder.encode(event.old)))
        if event.error is not None:
            parts.append(field(4, as_text(str(event.error)).encode()))
        if event.bookmark is not None:
            parts.append(field(5, event.bookmark))
        return b"".join(parts)


class _Batches:
    """The watch of one resource, in batches of one event."""

    def __init__(self, watch: Any) -> None:
        self._watch = watch

    async def __aenter__(self) -> "_Batches":
        await self._watch.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._watch.__aexit__(*exc)

    def __aiter__(self) -> "_Batches":
        return self

    async def __anext__(self) -> list[Event]:
        return [await anext(self._watch)]
