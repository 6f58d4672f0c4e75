"""Which node a call is for, and the way there: `node`, `nodes` and `proxyfrom` in the metadata, as the original's.

A call without them is for the node that gets it. One for another node is passed on, with the roles of its client, by
nodes that can act for others (control planes, which have the authority's key); a node that gets such a call answers it
itself. A call for several nodes is answered message by message, each with the name it was asked by, and an error of one
node is a message too. Streams of several nodes go side by side: one that follows something does not end.
"""

import ssl
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from ipaddress import ip_address
from typing import Any, Protocol

import attrs
import trio
from google.protobuf.message import DecodeError, Message

from nodespan.controllers.api.roles import ROLE_FIELD, client_roles, require
from nodespan.resources.wire import machine_pb2 as wire
from nodespan.runtime.api.cosi.roles import READERS
from nodespan.runtime.api.grpc import Call, Code, Method, RPCError, Status, frame, frame_head
from nodespan.runtime.api.grpc.client import ChannelOptions, Endpoint, open_channel

NODE, NODES, PROXY_FROM = "node", "nodes", "proxyfrom"
# A client that names more does not mean it, and each is a connection.
_MOST_NODES = 256
_LOOPBACK = ("127.0.0.1", "::1")
_AT_ONCE = 16
# Of streams: of as many nodes a log can be followed in one call.
_STREAMS_AT_ONCE = 64
_LONGEST_NAME = 253
_FRAME_HEAD = len(frame_head(0))
_STATE_SERVICE = "/cosi.resource.State/"
# Fields that belong to one hop.
_OF_THIS_HOP = frozenset({NODE, NODES, PROXY_FROM, ROLE_FIELD, "user-agent", "host", "te"}) | {
    "content-type",
    "content-length",
    "grpc-timeout",
    "grpc-encoding",
    "grpc-accept-encoding",
}
# As much as the original's clients take.
_OPTIONS = ChannelOptions(max_message=32 << 20)


class Node(Protocol):
    """What forwarding asks of the node that it runs on."""

    def is_own(self, target: str) -> bool:
        """Whether a name or address is this node's."""
        ...

    def locate(self, target: str) -> str:
        """The host to connect to for a target: that of the member of this name, else the target itself."""
        ...

    def address(self) -> str:
        """How this node calls itself towards others."""
        ...

    def client(self) -> ssl.SSLContext | None:
        """The TLS settings with which it asks other nodes for its clients; None if it cannot."""
        ...

    def port(self) -> int:
        """Where the API of other nodes listens."""
        ...


@attrs.frozen(kw_only=True)
class Targets:
    """Whom a call is for: this node alone, or these names; several if `are_many`."""

    names: tuple[str, ...] = ()
    are_many: bool = False


def targets_of(path: str, metadata: Iterable[tuple[str, str]]) -> Targets:
    """Whom the metadata of a call name. Raises RPCError."""
    fields: dict[str, list[str]] = {}
    for name, value in metadata:
        if name in (NODE, NODES, PROXY_FROM):
            fields.setdefault(name, []).append(value)
    if PROXY_FROM in fields:
        return Targets()
    node, nodes = fields.get(NODE, []), fields.get(NODES, [])
    if len(node) > 1:
        raise RPCError(Code.INVALID_ARGUMENT, "node must be given once; several are named by nodes")
    if nodes and path.startswith(_STATE_SERVICE):
        raise RPCError(Code.INVALID_ARGUMENT, "one-2-many proxying is not supported for the State service: use node")
    for name in (*node, *nodes):
        if not name or len(name) > _LONGEST_NAME or not name.isprintable() or " " in name:
            raise RPCError(Code.INVALID_ARGUMENT, "the name of a node must be an address or a host name")
    if len(nodes) > _MOST_NODES:
        raise RPCError(Code.INVALID_ARGUMENT, f"{len(nodes)} nodes are named, more than the {_MOST_NODES} of one call")
    if node:
        return Targets(names=tuple(node))
    return Targets(names=tuple(nodes), are_many=bool(nodes))


def routed(node: Node, methods: Mapping[str, Method], replies: Mapping[str, type[Message]]) -> dict[str, Method]:
    """The same methods, for whichever node they are called.

    `replies` are the answers of the methods that can be called for several nodes, by path: `messages` of a unary
    method, each with `metadata`, or the messages of a stream.
    """
    return {path: _Route(node, method, replies.get(path)).method() for path, method in methods.items()}


class _Route:
    """One method."""

    def __init__(self, node: Node, method: Method, reply: type[Message] | None) -> None:
        self._node = node
        self._inner = method
        self._reply = reply

    def method(self) -> Method:
        handler = self._stream if self._inner.is_stream else self._unary
        return attrs.evolve(self._inner, handler=handler)

    def _targets(self, call: Call) -> Targets:
        targets = targets_of(self._inner.path, call.metadata)
        # The original's clients name a single node as one of several, too.
        is_one = self._reply is None and len(targets.names) == 1
        return attrs.evolve(targets, are_many=False) if is_one else targets

    async def _unary(self, request: Message, call: Call) -> Message | bytes | None:
        targets = self._targets(call)
        if targets.are_many:
            return await self._unary_of_many(request, call, targets.names)
        if not targets.names or self._node.is_own(targets.names[0]):
            return await self._inner.handler(request, call)
        return frame(await self._ask(request, call, targets.names[0], bytes))

    async def _ask(self, request: Message, call: Call, target: str, decode: Callable[[bytes], Any]) -> Any:
        """The answer of another node. Raises RPCError."""
        async with open_channel([self._endpoint(target)], tls=self._tls(call), options=_OPTIONS) as channel:
            return await channel.unary(
                self._inner.path, request, decode, timeout=_left(call), metadata=self._metadata(call)
            )

    async def _stream(self, request: Message, call: Call) -> None:
        targets = self._targets(call)
        if targets.are_many and self._reply is None:
            raise RPCError(Code.INVALID_ARGUMENT, "this call is for one node: use node")
        if targets.are_many:
            await self._stream_of_many(request, call, targets.names)
        elif not targets.names or self._node.is_own(targets.names[0]):
            await self._inner.handler(request, call)
        else:
            await self._pass_on(request, call, targets.names[0])

    async def _pass_on(self, request: Message, call: Call, target: str) -> None:
        async with (
            open_channel([self._endpoint(target)], tls=self._tls(call), options=_OPTIONS) as channel,
            channel.stream(
                self._inner.path, request, bytes, timeout=_left(call), metadata=self._metadata(call)
            ) as answers,
        ):
            async for answer in answers:
                await call.send_framed(frame(answer))

    async def _stream_of_many(self, request: Message, call: Call, names: Sequence[str]) -> None:
        reply = self._reply
        assert reply is not None  # else it is for one node
        lock, limit = trio.Lock(), trio.CapacityLimiter(_STREAMS_AT_ONCE)
        # Who waits for the end of one that follows something waits for ever, and the client would not know.
        most = _STREAMS_AT_ONCE if getattr(request, "follow", False) else _MOST_NODES
        unsent: list[RPCError] = []

        async def answer(name: str, *, has_place: bool) -> None:
            outlet = _OneOfMany(call, lock, reply, name)
            own = Call(call.method, call.peer, call.metadata, call.deadline, outlet, call.held)
            try:
                if not has_place:
                    raise RPCError(
                        Code.RESOURCE_EXHAUSTED,
                        f"at most {most} nodes are followed in one call: name the others in another",
                    )
                async with limit:
                    if self._node.is_own(name):
                        await self._inner.handler(request, own)
                    else:
                        await self._pass_on(request, own, name)
            except RPCError as error:
                message = reply()
                _set_error(message.metadata, name, error)  # type: ignore[attr-defined]  # those of replies have it
                try:
                    await own.send(message)
                except RPCError as failure:
                    # The client does not read, or is gone.
                    unsent.append(failure)
                    nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            for index, name in enumerate(names):
                nursery.start_soon(partial(answer, name, has_place=index < most))
        if unsent:
            raise unsent[0]

    async def _unary_of_many(self, request: Message, call: Call, names: Sequence[str]) -> Message:
        reply = self._reply
        if reply is None:
            raise RPCError(Code.INVALID_ARGUMENT, "this call is for one node: use node")
        found: list[Any] = [None] * len(names)
        limit = trio.CapacityLimiter(_AT_ONCE)

        async def ask(index: int, name: str) -> None:
            async with limit:
                found[index] = await self._one_of_many(request, call, name, reply)

        async with trio.open_nursery() as nursery:
            for index, name in enumerate(names):
                nursery.start_soon(ask, index, name)
        combined: Any = reply()
        for each in found:
            combined.MergeFrom(each)
        return combined  # type: ignore[no-any-return]

    async def _one_of_many(self, request: Message, call: Call, name: str, reply: type[Message]) -> Message:
        answer: Any
        try:
            if self._node.is_own(name):
                answer = await self._inner.handler(request, call)
            else:
                answer = await self._ask(request, call, name, reply.FromString)
        except RPCError as error:
            answer = reply()
            _set_error(answer.messages.add().metadata, name, error)
            return answer  # type: ignore[no-any-return]
        for message in answer.messages:
            message.metadata.hostname = name
        return answer  # type: ignore[no-any-return]

    def _endpoint(self, target: str) -> Endpoint:
        return Endpoint(host=self._node.locate(target).strip("[]"), port=self._node.port())

    def _tls(self, call: Call) -> Callable[[], ssl.SSLContext]:
        # For who may do nothing, nobody is asked.
        require(call, READERS)
        context = self._node.client()
        if context is None:
            raise RPCError(
                Code.PERMISSION_DENIED,
                "no request forwarding: this node cannot act for others, so connect to the other node itself",
            )
        return lambda: context

    def _metadata(self, call: Call) -> list[tuple[str, str]]:
        kept = [(name, value) for name, value in call.metadata if name not in _OF_THIS_HOP and not name.startswith(":")]
        roles = [(ROLE_FIELD, role) for role in sorted(client_roles(call))]
        return [*kept, *roles, (PROXY_FROM, self._node.address())]


class _OneOfMany:
    """Where one node of several sends its part of a stream: whole messages, with its name."""

    def __init__(self, call: Call, lock: trio.Lock, reply: type[Message], name: str) -> None:
        self._call = call
        self._lock = lock
        self._reply = reply
        self._name = name

    async def send(self, data: bytes) -> None:
        """Send one framed message."""
        try:
            message = self._reply.FromString(data[_FRAME_HEAD:])
        except DecodeError as error:
            raise RPCError(Code.INTERNAL, "the answer of the node is not the one of this call") from error
        message.metadata.hostname = self._name  # type: ignore[attr-defined]  # those of replies have it
        async with self._lock:
            await self._call.send(message)

    def offer(self, _data: bytes) -> bool:
        """Not now: another node may be sending."""
        return False

    def end(self, status: Status) -> None:
        """End the call of all of them."""
        self._call.end(status)


def _set_error(metadata: Any, name: str, error: RPCError) -> None:
    """The error of one node among several, as clients of the original show it."""
    metadata.hostname = name
    metadata.error = str(error)
    metadata.status.CopyFrom(wire.Status(code=int(error.code), message=str(error)))


def _left(call: Call) -> float | None:
    """Seconds until the client's deadline; None without one."""
    left = call.deadline - trio.current_time()
    return None if left == float("inf") else max(left, 0.001)


def is_local(target: str, addresses: Iterable[str], names: Iterable[str]) -> bool:
    """Whether a target is one of the node's addresses, localhost's, or one of its names."""
    try:
        address = ip_address(target.strip("[]"))
    except ValueError:
        return target.lower().rstrip(".") in {name.lower() for name in names if name}
    return str(address) in {*addresses, *_LOOPBACK}
