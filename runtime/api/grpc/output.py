"""The sending half of a connection: the protocol machine's output, and who writes it to the peer.

At a client that is one task: only it waits for the transport, so that a cancelled call never leaves half a frame
behind. At a server (`ServerOutput`) what is sent is written at once, by whoever sends it; a task is started only when
the socket takes no more, and ends when it has caught up.

Tasks with more to send than the peer accepts wait for a window: each for its own stream's, or all for the connection's.
Of the latter, one is woken at a time, and wakes the next when it has sent something: so a window update costs the same
however many wait.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import h2.exceptions
import trio

from nodespan.runtime.api.grpc.server_machine import SMALLEST_MAX_FRAME, ServerMachine
from nodespan.runtime.api.grpc.wire import Wire

if TYPE_CHECKING:
    from nodespan.runtime.api.grpc.machine import Machine

# How many bytes of data may be queued before tasks with more have to wait.
MAX_WAITING = 64 * 1024
# The work of a frame that carries little.
_SMALL = 512


class Sends(Protocol):
    """What a connection's output needs of a protocol machine."""

    work: float

    @property
    def outbound_flow_control_window(self) -> int: ...
    @property
    def max_outbound_frame_size(self) -> int: ...
    def local_flow_control_window(self, id: int, /) -> int: ...
    def send_data(self, id: int, data: bytes | memoryview, /, end_stream: bool = ...) -> None: ...
    def data_to_send(self) -> bytes: ...


class Output:
    """The sending half of a connection, shared by its tasks. Call `wake` after changing the machine."""

    __slots__ = ("_drained", "_own", "_shared", "_waiting", "count", "machine")

    def __init__(self, machine: Sends) -> None:
        self.machine = machine
        # How often data or headers were sent, not counting answers to settings and pings.
        self.count = 0
        # What tasks wait in is made when the first one does: most connections never need it. First for an empty queue.
        self._drained: trio.lowlevel.ParkingLot | None = None
        self._waiting = 0
        # The tasks that wait for the connection's window, and those that wait for a stream's.
        self._shared: trio.lowlevel.ParkingLot | None = None
        self._own: dict[int, trio.Event] | None = None

    def wake(self) -> None:
        """The machine may have something to send."""
        raise NotImplementedError

    def add(self, size: int) -> None:
        """This many bytes of data, or headers, were put into the machine."""
        self._waiting += size
        self.count += 1
        self.wake()

    def _is_drained(self) -> None:
        if self._waiting:
            self._waiting = 0
        if self._drained is not None:
            self._drained.unpark_all()
            self._drained = None

    async def _wait_until_drained(self) -> None:
        if self._drained is None:
            self._drained = trio.lowlevel.ParkingLot()
        await self._drained.park()

    async def send_data(self, id: int, data: memoryview, *, end: bool = False) -> int:
        """Put as much of the data into the machine as there is room for, once there is; returns how much that was.

        `end`: nothing comes after the data. Raises ProtocolError if the stream is over.
        """
        machine = self.machine
        while True:
            room = await self._room()
            size = min(len(data), room, machine.local_flow_control_window(id), machine.max_outbound_frame_size)
            if size > 0:
                machine.send_data(id, data[:size], end_stream=end and size == len(data))
                self.add(size)
                if size < _SMALL and size < len(data):
                    machine.work += 1  # a window that is opened byte by byte
                self.pass_on()
                return size
            await self._wait_for_window(id)

    async def _room(self) -> int:
        while self._waiting >= MAX_WAITING:
            await self._wait_until_drained()
        return MAX_WAITING - self._waiting

    # Windows.

    async def _wait_for_window(self, id: int) -> None:
        if self.machine.outbound_flow_control_window <= 0:
            if self._shared is None:
                self._shared = trio.lowlevel.ParkingLot()
            await self._shared.park()
            return
        self.pass_on()
        own = self._own = {} if self._own is None else self._own
        event = own[id] = trio.Event()
        try:
            await event.wait()
        finally:
            own.pop(id, None)

    def pass_on(self) -> None:
        """Wake the next task, if the connection's window is open. Called by tasks that were woken."""
        if self._shared and self.machine.outbound_flow_control_window > 0:
            self._shared.unpark()

    def window_opened(self, id: int) -> None:
        """The peer opened the window of a stream, or of the connection if the id is 0."""
        if id == 0:
            self.pass_on()
        elif self._own and (event := self._own.pop(id, None)) is not None:
            event.set()

    def windows_changed(self) -> None:
        """The peer has changed the windows of all streams."""
        own, self._own = self._own or {}, None
        self.machine.work += len(own)
        for event in own.values():
            event.set()


class ClientOutput(Output):
    """The output of a client: run `write_to`."""

    __slots__ = ("_grew",)

    machine: "Machine"

    def __init__(self, machine: "Machine") -> None:
        super().__init__(machine)
        self._grew = trio.lowlevel.ParkingLot()

    async def write_to(self, transport: trio.abc.SendStream) -> None:
        """Write all output until cancelled. Raises what the transport raises."""
        while True:
            data = self.machine.data_to_send()
            if data:
                await transport.send_all(data)
            else:
                self._is_drained()
                await self._grew.park()

    def wake(self) -> None:
        """The machine may have something to send."""
        self._grew.unpark_all()

    def offer(self, id: int, data: bytes) -> bool:
        """Send the data now, if there is room for all of it; False: nothing was sent."""
        machine, size = self.machine, len(data)
        try:
            if self._waiting + size > MAX_WAITING or size > machine.local_flow_control_window(id):
                return False
            view, most = memoryview(data), machine.max_outbound_frame_size
            for start in range(0, size, most):
                machine.send_part(id, view[start : start + most])
        except h2.exceptions.ProtocolError:
            return False  # it is over, as the one who receives is told
        self.add(size)
        return True

    async def drain(self) -> None:
        """Wait until all output has been written."""
        self.wake()
        await self._wait_until_drained()


def _start_none() -> None:
    """Start no writer: what is written to a connection that is over goes nowhere."""


class ServerOutput(Output):
    """The output of a server, written at once. `start_writer` starts a task that runs `write`."""

    __slots__ = ("_start_writer", "_wire", "is_writing")

    machine: ServerMachine

    def __init__(self, machine: ServerMachine, wire: Wire, start_writer: Callable[[], None]) -> None:
        super().__init__(machine)
        self._wire = wire
        self._start_writer = start_writer
        # Whether a task waits for room in the socket.
        self.is_writing = False

    def wake(self) -> None:
        """Write what the machine has to send, as far as that goes."""
        if self.is_writing:
            return  # the writer takes it
        data = self.machine.data_to_send()
        if data:
            self._wire.send(data)
        if self._wire.rest:
            self.is_writing = True
            self._start_writer()
        else:
            self._is_drained()

    def detach(self) -> None:
        """The connection is over: refer to it no more."""
        self._start_writer = _start_none

    async def write(self) -> None:
        """Write the rest, and what comes meanwhile. Raises BrokenResourceError."""
        while self._wire.rest:
            await self._wire.drain()
            data = self.machine.data_to_send()
            if data:
                self._wire.send(data)
        self.is_writing = False
        self._is_drained()

    async def drain(self) -> None:
        """Wait until all output has been written."""
        self.wake()
        if self.is_writing:
            await self._wait_until_drained()
        else:
            await trio.lowlevel.checkpoint()

    def _has_room(self, id: int, size: int) -> bool:
        """Whether the data of a stream that is open can all be sent now, or kept until the socket takes it."""
        if self.is_writing or size > MAX_WAITING:
            return False
        try:
            return size <= self.machine.local_flow_control_window(id)
        except h2.exceptions.StreamClosedError:
            return False

    def _send(self, id: int, data: bytes) -> None:
        machine, size = self.machine, len(data)
        if size <= SMALLEST_MAX_FRAME:
            machine.send_data(id, data)
            return
        view = memoryview(data)
        for start in range(0, size, SMALLEST_MAX_FRAME):
            machine.send_data(id, view[start : start + SMALLEST_MAX_FRAME])

    def offer(self, id: int, data: bytes, head: bytes = b"") -> bool:
        """Send the head and data now, if nobody has to wait for that; False: nothing was sent."""
        size = len(data)
        if not head and size <= SMALLEST_MAX_FRAME and not self.is_writing:
            # A change that watchers are told of, the most frequent of all: one frame, which is all there is to write.
            framed = self.machine.take_data(id, data)
            if framed is not None:
                self.count += 1
                self._wire.send(framed)
                if self._wire.rest:
                    self.is_writing = True
                    self._waiting += size
                    self._start_writer()
                return True
        if not self._has_room(id, size):
            return False
        if head:
            self.machine.send_headers(id, head)
        self._send(id, data)
        self.add(size)
        return True

    def answer(self, id: int, head: bytes, data: bytes, trailers: bytes) -> bool:
        """Send a whole response now, in one go, if nobody has to wait for that; False: nothing was sent."""
        if not self._has_room(id, len(data)):
            return False
        self.machine.send_headers(id, head)
        self._send(id, data)
        self.machine.send_headers(id, trailers, end_stream=True)
        self.add(len(data))
        return True
