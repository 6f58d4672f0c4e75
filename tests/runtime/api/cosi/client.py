"""A client of the State service that shares nothing with the tree: the reference library, and messages of its own."""

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import attrs
import grpc
import structlog
import trio

from nodespan.runtime.api.cosi.service import LIMITS, StateService
from nodespan.runtime.api.grpc import Call, Server, Service
from nodespan.runtime.api.local import listen
from nodespan.runtime.codec.messages import SpecMessages
from nodespan.runtime.resource import Namespace, ResourceDefinition, ResourceType
from nodespan.runtime.state import MemoryState, State
from tests.support.deadlines import PATIENCE
from tests.support.messages import Messages

T = TypeVar("T")
WIRE = Messages("cosi_messages.txt")
STREAMS = ("List", "Watch")
# For calls that are answered at once, on any machine.


@attrs.frozen
class ThingSpec:
    """A spec without a message of the originals."""

    name: str = ""
    number: int = 0


Thing = ResourceType("Things.test.nodespan.dev", ThingSpec, namespace="test")


class Cosi:
    """The methods, to be called from a thread."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel

    def message(self, name: str, **fields: Any) -> Any:
        """A message of the service."""
        return WIRE[f"cosi.resource.{name}"](**fields)

    def call(self, method: str, **fields: Any) -> Any:
        """A unary call. Raises grpc.RpcError."""
        return self._stub(method)(self.message(f"{method}Request", **fields), timeout=PATIENCE)

    def list(self, **fields: Any) -> list[Any]:
        """The resources of a list."""
        return [answer.resource for answer in self.stream("List", **fields)]

    def stream(self, method: str, **fields: Any) -> Any:
        """The answers of a list or a watch, as they come."""
        return self._stub(method)(self.message(f"{method}Request", **fields), timeout=PATIENCE)

    def watch(self, *, api_version: int = 1, **fields: Any) -> "Watched":
        """A watch that has begun."""
        stream = self.stream("Watch", api_version=api_version, **fields)
        ready = next(stream)
        assert ready.ByteSize() == 0
        return Watched(stream)

    def code(self, method: str, **fields: Any) -> tuple[str, str]:
        """How a call fails: its code and its text."""
        try:
            if method in STREAMS:
                for _ in self.stream(method, **fields):
                    pass
            else:
                self.call(method, **fields)
        except grpc.RpcError as error:
            return error.code().name, error.details()
        return "OK", ""

    def _stub(self, method: str) -> Any:
        kind = self._channel.unary_stream if method in STREAMS else self._channel.unary_unary
        return kind(
            f"/cosi.resource.State/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=WIRE[f"cosi.resource.{method}Response"].FromString,
        )


class Watched:
    """The messages of a watch after the first."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def message(self) -> Any:
        """The next message."""
        return next(self.stream)

    def event(self) -> Any:
        """The only event of the next message."""
        (event,) = self.message().event
        return event

    def events(self, count: int) -> list[Any]:
        """So many events, of a message each."""
        return [self.event() for _ in range(count)]

    def end(self) -> None:
        """Cancel the watch."""
        self.stream.cancel()


@attrs.frozen
class Served:
    """A state behind the service."""

    state: State
    path: Path
    server: Server

    async def use(self, work: Callable[[Cosi], T]) -> T:
        """Run work with a client, in a thread."""

        def run() -> T:
            with connected(self.path) as cosi:
                return work(cosi)

        return await trio.to_thread.run_sync(run)


@contextlib.contextmanager
def connected(path: Path) -> Iterator[Cosi]:
    """A client with a connection of its own."""
    settings = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(f"unix:{path}", settings) as channel:
        yield Cosi(channel)


@contextlib.asynccontextmanager
async def serving(
    path: Path,
    state: State | None = None,
    *,
    visible: Callable[[Call], State] | None = None,
    types: tuple[ResourceType[Any], ...] = (Thing,),
    messages: SpecMessages | None = None,
    log: Any = None,
) -> AsyncIterator[Served]:
    """Serve a state on a socket for as long as the block runs."""
    shown = MemoryState() if state is None else state
    log = structlog.get_logger() if log is None else log
    classes = {type.name: type.spec_class for type in (*types, Namespace, ResourceDefinition)}
    service = StateService(
        visible or (lambda _call: shown), messages=messages or SpecMessages(), find_type=classes.get, log=log
    )
    server = Server(Service(methods=service.methods(), log=log, limits=LIMITS))
    async with listen(path) as listener, trio.open_nursery() as nursery:

        async def serve(*, task_status: trio.TaskStatus[None]) -> None:
            await server.serve([listener], grace=1, task_status=task_status)

        await nursery.start(serve)
        yield Served(shown, path, server)
        nursery.cancel_scope.cancel()
