"""Asks agents of other machines, over the network: what `--nodes` and `--context` stand for.

Where to connect, whom to trust and who asks stand in the client's configuration of Talos. The answers have the shape
of the local ones, with the node that they are from, so that they are shown alike. A node that cannot be asked is one
line of error, and the exit status is not zero.
"""

import argparse
import contextlib
import functools
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Container, Iterator
from typing import Any, TypeVar

import attrs
import trio
from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer, ComposerError
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import AliasEvent

from nodespan.controllers.remote.talosconfig import Context, TalosConfigError, config_path, read_config
from nodespan.runtime.api import protocol
from nodespan.runtime.api.access import TypeNameError, definition_called
from nodespan.runtime.api.grpc import Code
from nodespan.runtime.api.grpc.client import (
    CallError,
    Channel,
    ChannelOptions,
    Endpoint,
    EndpointError,
    TrustError,
    client_context,
    open_channel,
)
from nodespan.runtime.cli.errors import CommandError
from nodespan.runtime.cli.options import nodes_of
from nodespan.runtime.codec.messages import SpecMessages
from nodespan.runtime.codec.plain import metadata_to_plain, spec_to_plain
from nodespan.runtime.codec.resources import decode_metadata, decode_resource, encode_filter
from nodespan.runtime.codec.wire import resource_pb2 as wire
from nodespan.runtime.codec.yamltext import dump_head
from nodespan.runtime.pem import standard_key
from nodespan.runtime.resource import (
    Resource,
    ResourceDefinition,
    ResourceDefinitionSpec,
    build_filter,
    parse_selector,
)
from nodespan.runtime.state import EventType
from nodespan.runtime.text.escaping import escaped
from nodespan.runtime.text.jsonpath import JSONPathError

T = TypeVar("T")
Answer = dict[str, Any]
DEFAULT_PORT = 50000
_SERVICE = "/cosi.resource.State"
# Seconds that a node may take to answer, other than with a stream.
_TIMEOUT = 30.0
# As clients of the original say: what they take.
_LARGEST_ANSWER = 32 << 20
# Of one list: more than the resources of any type have.
_LARGEST_LIST = 512 << 20
# What the smallest resource takes here, beside what is sent for it.
_OVERHEAD = 512
_KEEPALIVE = 20.0
# Seconds until a node that is followed is tried again.
RECONNECT = 1.0
_LONGEST_REASON = 200
_EVENTS = {
    EventType.CREATED: protocol.CREATED,
    EventType.UPDATED: protocol.UPDATED,
    EventType.DESTROYED: protocol.DESTROYED,
}


@attrs.frozen
class Target:
    """A cluster, and which of its nodes to ask; without a name the node that is connected to."""

    context: Context
    nodes: tuple[str, ...]

    @classmethod
    def of(cls, options: argparse.Namespace) -> "Target":
        """What `--nodes` and `--context` name. Raises CommandError."""
        path = config_path()
        nodes = nodes_of(options)
        try:
            chosen = read_config(path).chosen(options.context or "")
        except TalosConfigError as error:
            raise CommandError(f"{error} (the client's configuration is {path})") from error
        if not chosen.endpoints:
            raise CommandError(
                f"{path}: the context has no endpoints: name a node with `nodespan config endpoint ADDRESS`"
            )
        return cls(chosen, nodes or chosen.nodes or ("",))

    @contextlib.asynccontextmanager
    async def channel(self) -> AsyncIterator[Channel]:
        """A connection to the first endpoint that can be reached. Raises CommandError."""
        context = self.context
        try:
            endpoints = [Endpoint.parse(text, default_port=_port_of(text)) for text in context.endpoints]
        except (EndpointError, ValueError) as error:
            raise CommandError(f"an endpoint or the proxy of the context cannot be used: {error}") from error
        tls = functools.partial(
            client_context,
            roots=context.authority or None,
            certificate=context.certificate,
            key=standard_key(context.key),
        )
        options = ChannelOptions(max_message=_LARGEST_ANSWER, keepalive=_KEEPALIVE)
        async with open_channel(
            endpoints, tls=_checked(tls), proxy=lambda _: context.proxy_url or None, options=options
        ) as channel:
            yield channel

    def metadata(self, node: str) -> list[tuple[str, str]]:
        """What goes with a call for a node."""
        found = [("runtime", "Talos")]
        if self.context.cluster:
            found.append(("context", self.context.cluster))
        return [*found, ("node", node)] if node else found


def _checked(tls: Callable[[], ssl.SSLContext]) -> Callable[[], ssl.SSLContext]:
    try:
        tls()
    except TrustError as error:
        raise CommandError(f"the certificates of the context cannot be used: {error}") from error
    return tls


def _port_of(endpoint: str) -> int:
    return 443 if "://" in endpoint else DEFAULT_PORT


@attrs.frozen
class Asked:
    """What `get` asks for, as typed."""

    type: str
    id: str | None
    namespace: str
    selectors: tuple[str, ...]
    form: str


class NodeClient:
    """One node behind a connection."""

    def __init__(self, channel: Channel, target: Target, node: str) -> None:
        self._channel = channel
        self._metadata = target.metadata(node)
        self.node = node or str(target.context.endpoints[0])

    async def definition(self, typed: str) -> ResourceDefinitionSpec:
        """The type that the text means on this node. Raises CommandError, CallError."""
        request = wire.ListRequest(namespace=ResourceDefinition.kind.namespace, type=ResourceDefinition.kind.type)
        found: list[Resource[Any]] = []

        def take(resource: wire.Resource) -> None:
            with usable():
                found.append(decode_resource(resource, SpecMessages(), lambda _: ResourceDefinitionSpec))

        await self._list(request, take)
        with usable():
            try:
                return definition_called(found, typed)
            except TypeNameError as error:
                raise CommandError(str(error)) from error

    async def list(self, asked: Asked) -> list[Answer]:
        """The answers to `get` without a watch. Raises CommandError, CallError."""
        definition = await self.definition(asked.type)
        namespace = asked.namespace or definition.default_namespace
        answers: list[Answer] = [{"definition": spec_to_plain(definition), "node": self.node}]
        if asked.id is not None:
            request = wire.GetRequest(namespace=namespace, type=definition.type, id=asked.id)
            got = await self._channel.unary(
                f"{_SERVICE}/Get", request, wire.GetResponse.FromString, timeout=_TIMEOUT, metadata=self._metadata
            )
            return [*answers, self._answer(protocol.CREATED, got.resource, asked.form)]
        listed = wire.ListRequest(namespace=namespace, type=definition.type)
        encode_filter(build_filter(_selectors(asked), None), listed.options)
        await self._list(listed, lambda resource: answers.append(self._answer(protocol.CREATED, resource, asked.form)))
        return answers

    async def watch(self, asked: Asked, show: Callable[[Answer], None]) -> None:
        """Show the answers to `get -w` until the stream fails. Raises CommandError, CallError."""
        definition = await self.definition(asked.type)
        show({"definition": spec_to_plain(definition), "node": self.node})
        namespace = asked.namespace or definition.default_namespace
        request = wire.WatchRequest(namespace=namespace, type=definition.type, api_version=1)
        if asked.id is not None:
            request.id = asked.id
        else:
            request.options.bootstrap_contents = True
            encode_filter(build_filter(_selectors(asked), None), request.options)
        async with self._stream("Watch", request, wire.WatchResponse.FromString, None) as stream:
            async for answer in stream:
                for event in answer.event:
                    if event.event_type == EventType.ERRORED:
                        raise CallError(Code.ABORTED, event.error or "the watch fell behind")
                    if event.event_type == EventType.BOOTSTRAPPED:
                        show({"event": protocol.BOOTSTRAPPED, "node": self.node})
                    elif event.event_type != EventType.NOOP:
                        with usable():
                            kind = _EVENTS[EventType(event.event_type)]
                        show(self._answer(kind, event.resource, asked.form))
        raise CallError(Code.UNAVAILABLE, "the node ended the watch")

    async def _list(self, request: wire.ListRequest, take: Callable[[wire.Resource], None]) -> None:
        size = 0
        async with self._stream("List", request, wire.ListResponse.FromString, _TIMEOUT) as stream:
            async for answer in stream:
                size += answer.ByteSize()
                if size > _LARGEST_LIST:
                    raise CommandError(f"it lists more than {_LARGEST_LIST >> 20} MiB")
                take(answer.resource)

    async def call(self, path: str, request: Any, decode: Callable[[bytes], T]) -> T:
        """One call of another service. Raises CallError."""
        return await self._channel.unary(path, request, decode, timeout=_TIMEOUT, metadata=self._metadata)

    def stream(self, path: str, request: Any, decode: Callable[[bytes], T], *, timeout: float | None = _TIMEOUT) -> Any:
        """The answers of a method of another service that has any number of them: a context manager."""
        return self._channel.stream(path, request, decode, timeout=timeout, metadata=self._metadata)

    def _stream(self, method: str, request: Any, decode: Callable[[bytes], Any], timeout: float | None) -> Any:
        return self.stream(f"{_SERVICE}/{method}", request, decode, timeout=timeout)

    def _answer(self, event: str, resource: wire.Resource, form: str) -> Answer:
        text = resource.spec.yaml_spec
        head: Answer = {"event": event, "node": self.node, "size": resource.ByteSize() + _OVERHEAD}
        with usable():
            metadata = metadata_to_plain(decode_metadata(resource.metadata))
            if form == "yaml":
                return {**head, "metadata": metadata, "yaml": dump_head(metadata) + _indented(text)}
            return {**head, "resource": {"metadata": metadata, "spec": _plain(text)}}


def _indented(text: str) -> str:
    """A spec as the last key of a document; what is no table, such as text, follows on the same line."""
    if text.strip() in ("", "{}"):
        return "spec: {}\n"
    head, lines = text.split("\n", 1)[0], text.splitlines()
    if (not head.startswith(("|", ">", '"', "'")) and ":" in head) or head.startswith("- "):
        return "spec:\n" + "".join(f"    {line}".rstrip() + "\n" for line in lines)
    return f"spec: {lines[0]}\n" + "".join(f"{line}\n" for line in lines[1:])


class _PlainConstructor(SafeConstructor):
    """Times are text, as the nodes of the original write them without quotes."""


_PlainConstructor.add_constructor("tag:yaml.org,2002:timestamp", SafeConstructor.construct_yaml_str)


class _PlainComposer(Composer):
    """Refuses aliases, which no node writes: a few lines of them stand for more than any memory holds, once shown."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.parser.check_event(AliasEvent):
            raise ComposerError(None, None, "it has an alias", self.parser.peek_event().start_mark)
        return super().compose_node(parent, index)


def _plain(text: str) -> Any:
    yaml = YAML(typ="safe", pure=True)
    yaml.Composer = _PlainComposer
    yaml.Constructor = _PlainConstructor
    return yaml.load(text) if text else {}


def _selectors(asked: Asked) -> list[Any]:
    try:
        return [parse_selector(text) for text in asked.selectors]
    except ValueError as error:
        raise CommandError(str(error)) from error


@contextlib.contextmanager
def usable() -> Iterator[None]:
    """What the block makes of an answer; raises CommandError if the answer is not made for that."""
    try:
        yield
    except JSONPathError as error:
        # Its text is for who wrote the expression, here or at the node.
        raise CommandError(escaped(str(error), keep="\n")) from error
    except (AttributeError, LookupError, TypeError, ValueError, RecursionError, YAMLError) as error:
        reason = escaped(f"{type(error).__name__}: {error}")
        raise CommandError(f"its answer cannot be shown ({reason[:_LONGEST_REASON]})") from error


class Absence:
    """Says that a node which is followed is away, once each time."""

    def __init__(self, node: str) -> None:
        self._node = node
        self._is_said = False

    def say(self, reason: str) -> None:
        """It is away."""
        if not self._is_said:
            sys.stderr.write(f"{self._node}: {reason}; trying again\n")
            self._is_said = True

    def is_over(self) -> None:
        """It is there."""
        self._is_said = False


def explained(error: CallError) -> str:
    """An error of a node, in words for its user."""
    return escaped(str(error), keep="\n") or error.code.name.lower()


async def each_node(target: Target, act: Callable[[NodeClient], Awaitable[None]]) -> int:
    """Do the same at every node, side by side; failures go to stderr, a line each. Returns the exit status."""
    status = 0

    async def one(channel: Channel, node: str) -> None:
        nonlocal status
        client = NodeClient(channel, target, node)
        try:
            await act(client)
        except (CallError, CommandError) as error:
            status = 1
            say_failure(client.node, error)

    async with target.channel() as channel, trio.open_nursery() as nursery:
        for node in target.nodes:
            nursery.start_soon(one, channel, node)
    return status


def say_failure(node: str, error: CallError | CommandError) -> None:
    """Say on stderr why a node has no part in what is shown."""
    text = explained(error) if isinstance(error, CallError) else str(error)
    sys.stderr.write(f"{node}: {text}\n")


def in_order(target: Target, kept: Container[str]) -> list[str]:
    """The names of those nodes for which there is something, in the order in which they were named."""
    return [name for name in names_of(target) if name in kept]


def names_of(target: Target) -> list[str]:
    """How the nodes are called in what is shown, each once, in the order in which they were named."""
    return list(dict.fromkeys(node or str(target.context.endpoints[0]) for node in target.nodes))


def run(act: Callable[[], Awaitable[int]]) -> int:
    """Run to the end. Raises what the command raises, out of the groups of the nurseries."""
    try:
        return trio.run(act)
    except BaseExceptionGroup as group:
        from nodespan.runtime.errors import leaves

        first = next(iter(leaves(group)))
        raise first from None
