"""The other end of the State service: the state of another process or machine, opened by its address.

async with open_remote_state("unix:/run/nodespan/cosi.sock", follow=[LinkStatus]) as state:
    print(state.list(LinkStatus))
"""

import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from typing import Any

import structlog

from nodespan.runtime.about import load_about
from nodespan.runtime.api.cosi.errors import CLASSES
from nodespan.runtime.api.cosi.service import SERVICE
from nodespan.runtime.api.grpc import Code
from nodespan.runtime.api.grpc.client import CallError, Channel, ChannelOptions, Endpoint, client_context, open_channel
from nodespan.runtime.background import background_tasks
from nodespan.runtime.codec.messages import MessageError, MessageType, RawSpec, SpecMessages
from nodespan.runtime.codec.resources import decode_resource, encode_resource
from nodespan.runtime.codec.wire import resource_pb2 as wire
from nodespan.runtime.controller import Logger
from nodespan.runtime.errors import AccessError, OverrunError, RefusedError, StateError, UnavailableError
from nodespan.runtime.resource import Kind, KindLike, Namespace, Resource, ResourceDefinition, ResourceType
from nodespan.runtime.state.base import ANY_PHASE, ExpectedPhase
from nodespan.runtime.state.collection import History
from nodespan.runtime.state.events import Event, EventType
from nodespan.runtime.state.remote import RemoteState

# Below this the other side does not send all events.
_API_VERSION = 1
# Seconds that a read or a write may take.
_PATIENCE = 30.0
# The largest resource, and when an end that says nothing is taken for gone.
_OPTIONS = ChannelOptions(max_message=64 << 20, keepalive=20.0, keepalive_timeout=10.0, keepalive_without_calls=True)
_READS = ("Get", "Watch")
_UNREACHABLE = frozenset({Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.CANCELLED, Code.ABORTED})


@contextmanager
def _understood(method: str, kind: Kind[Any]) -> Iterator[None]:
    """Raise a failed call as the error of the state that it stands for."""
    try:
        yield
    except CallError as error:
        raise _meaning(method, kind, error) from error


def _meaning(method: str, kind: Kind[Any], error: CallError) -> StateError:
    cls: type[StateError]
    if error.code in _UNREACHABLE:
        cls = UnavailableError
    elif error.code is Code.UNAUTHENTICATED or (error.code is Code.PERMISSION_DENIED and method in _READS):
        cls = AccessError
    else:
        known = (each for each, code in CLASSES[method] if code is error.code and issubclass(each, StateError))
        cls = next(known, RefusedError)
    return cls(str(error), namespace=kind.namespace, type=kind.type)


class StateClient:
    """The operations of the other side over a channel; `Remote` to a RemoteState."""

    def __init__(self, channel: Channel, *, messages: SpecMessages, log: Logger) -> None:
        self._channel = channel
        self._messages = messages
        self._log = log
        self._types: dict[str, type[Any]] = {}
        self.learn([Namespace, ResourceDefinition])

    def learn(self, types: Iterable[ResourceType[Any]]) -> None:
        """Decode the specs of these types from now on."""
        self._types |= {type.name: type.spec_class for type in types}

    def decoded(self, resource: Resource[Any]) -> Resource[Any]:
        """The resource with its spec decoded, if its type was learned after it came; else itself."""
        spec, spec_class = resource.spec, self._types.get(resource.metadata.type)
        if not isinstance(spec, RawSpec) or spec_class is None:
            return resource
        try:
            decoded = self._messages.decode(spec_class, spec.proto, spec.yaml)
        except MessageError:
            return resource  # it was logged when it came, or its type was not known then
        return resource if isinstance(decoded, RawSpec) else Resource(resource.metadata, decoded)

    def _resource(self, message: wire.Resource, kind: Kind[Any]) -> Resource[Any]:
        try:
            return decode_resource(message, self._messages, self._types.get)
        except MessageError as error:
            self._log.warning("a spec cannot be read and stays raw", resource=message.metadata.id, error=str(error))
            return decode_resource(message, self._messages, lambda _name: None)
        except ValueError as error:
            raise RefusedError(
                f"the answer is not a resource: {error}", namespace=kind.namespace, type=kind.type
            ) from error

    async def _call(self, method: str, request: Any, answer: Any) -> Any:
        return await self._channel.unary(f"/{SERVICE}/{method}", request, answer.FromString, timeout=_PATIENCE)

    def _sent(self, resource: Resource[Any]) -> wire.Resource:
        if not isinstance(resource.spec, RawSpec):
            # Whoever writes a type knows it, and wants to read it so.
            self._types.setdefault(resource.metadata.type, type(resource.spec))
        return encode_resource(resource, self._messages)

    async def get(self, kind: Kind[Any], id: str) -> Resource[Any]:
        """A resource. Raises NotFoundError."""
        request = wire.GetRequest(namespace=kind.namespace, type=kind.type, id=id, options=wire.GetOptions())
        with _understood("Get", kind):
            answer = await self._call("Get", request, wire.GetResponse)
        return self._resource(answer.resource, kind)

    async def create(self, resource: Resource[Any], owner: str) -> Resource[Any]:
        """As `State.create`."""
        request = wire.CreateRequest(resource=self._sent(resource), options=wire.CreateOptions(owner=owner))
        with _understood("Create", resource.kind):
            answer = await self._call("Create", request, wire.CreateResponse)
        return self._resource(answer.resource, resource.kind)

    async def update(self, resource: Resource[Any], owner: str, expected_phase: ExpectedPhase) -> Resource[Any]:
        """As `State.update`."""
        options = wire.UpdateOptions(owner=owner)
        if expected_phase is not ANY_PHASE:
            options.expected_phase = expected_phase.value
        request = wire.UpdateRequest(new_resource=self._sent(resource), options=options)
        with _understood("Update", resource.kind):
            answer = await self._call("Update", request, wire.UpdateResponse)
        return self._resource(answer.resource, resource.kind)

    async def destroy(self, kind: Kind[Any], id: str, owner: str) -> None:
        """As `State.destroy`."""
        request = wire.DestroyRequest(
            namespace=kind.namespace, type=kind.type, id=id, options=wire.DestroyOptions(owner=owner)
        )
        with _understood("Destroy", kind):
            await self._call("Destroy", request, wire.DestroyResponse)

    @asynccontextmanager
    async def watch_kind(
        self, kind: Kind[Any], start_from: bytes | None, *, wait: bool
    ) -> AsyncIterator[AsyncIterator[Event]]:
        """The contents, BOOTSTRAPPED and changes; only changes after a bookmark. `wait`: until it can be reached."""
        options = wire.WatchOptions(bootstrap_contents=start_from is None, start_from_bookmark=start_from)
        request = wire.WatchRequest(namespace=kind.namespace, type=kind.type, options=options, api_version=_API_VERSION)
        path, decode = f"/{SERVICE}/Watch", wire.WatchResponse.FromString
        with _understood("Watch", kind):
            async with self._channel.stream(path, request, decode, wait=wait) as answers:
                if await answers.receive() is None:
                    raise UnavailableError("the watch ended before it began", namespace=kind.namespace, type=kind.type)
                async with aclosing(self._events(answers, kind)) as events:
                    yield events

    async def _events(self, answers: AsyncIterator[wire.WatchResponse], kind: Kind[Any]) -> AsyncGenerator[Event, None]:
        async for answer in answers:
            for message in answer.event:
                yield self._event(message, kind)

    def _event(self, message: wire.Event, kind: Kind[Any]) -> Event:
        bookmark = message.bookmark if message.HasField("bookmark") else None
        try:
            type = EventType(message.event_type)
        except ValueError as unknown:
            text = f"an event of a type that is not known here: {message.event_type}"
            raise RefusedError(text, namespace=kind.namespace, type=kind.type) from unknown
        if type is EventType.ERRORED:
            error = OverrunError(message.error, namespace=kind.namespace, type=kind.type)
            return Event(EventType.ERRORED, error=error, bookmark=bookmark)
        # What a change replaced is what the collection has.
        return Event(type, self._resource(message.resource, kind), None, None, bookmark)


@asynccontextmanager
async def open_remote_state(
    *endpoints: str,
    follow: Iterable[KindLike[Any]] = (),
    types: Iterable[ResourceType[Any]] = (),
    messages: Iterable[MessageType[Any]] | None = None,
    tls: Callable[[], ssl.SSLContext] = client_context,
    options: ChannelOptions | None = None,
    history: History | None = None,
    log: Logger | None = None,
) -> AsyncIterator[RemoteState]:
    """The state behind the State service at one of these addresses, for as long as the block lasts.

    `unix:/path`, `https://host:port` or `http://host:port`. `follow` are kinds to read at once; others are followed
    from their first use on. `types` are those to decode besides: a ResourceType that is used is learned anyway.
    `messages` are how specs look on the wire, by default those of all installed packages. Raises UnavailableError or
    AccessError if a kind to follow cannot be read now, and EndpointError for an invalid address.
    """
    log = structlog.get_logger() if log is None else log
    if messages is None:
        messages = [message for package in load_about(log) for message in package.messages()]
    parsed: Sequence[Endpoint] = [Endpoint.parse(endpoint) for endpoint in endpoints]
    async with (
        open_channel(parsed, tls=tls, options=options or _OPTIONS) as channel,
        background_tasks() as nursery,
    ):
        client = StateClient(channel, messages=SpecMessages(messages), log=log)
        client.learn(types)
        state = RemoteState(client, nursery, history=history)
        await state.follow(*follow)
        yield state


__all__ = ["open_remote_state"]
