"""The sending half of a connection: the protocol machine's output, and the one task that writes it to the peer.

Only that task waits for the transport, so that a cancelled call never leaves half a frame behind. While it is idle,
what fits into the transport may be written directly, without it (`offer`).

Tasks with more to send than the peer accepts wait for a window: each for its own stream's, or all for the connection's.
Of the latter, one is woken at a time, and wakes the next when it has sent something: so a window update costs the same
however many wait.
"""

from collections.abc import Callable

import h2.exceptions
import trio

from nodespan.runtime.api.grpc.machine import Machine

# How many bytes of data may be queued before tasks with more have to wait.
MAX_WAITING = 64 * 1024
# The work of a frame that carries little.
_SMALL = 512


class Output:
    """The sending half of a connection, shared by its tasks. Call `wake` after changing the machine."""

    def __init__(self, machine: Machine, write_now: Callable[[bytes], int] | None = None) -> None:
        self.machine = machine
        # Writes without waiting, and returns how much; None where the transport cannot.
        self._write_now = write_now
        self._is_writing = False
        # What did not fit when it was written at once.
        self._rest = b""
        # How often data or headers were sent, not counting answers to settings and pings.
        self.count = 0
        self._grew = trio.lowlevel.ParkingLot()
        self._drained = trio.lowlevel.ParkingLot()
        self._waiting = 0
        # The tasks that wait for the connection's window, and those that wait for a stream's.
        self._shared = trio.lowlevel.ParkingLot()
        self._own: dict[int, trio.Event] = {}

    async def write_to(self, transport: trio.abc.SendStream) -> None:
        """Write all output until cancelled. Raises what the transport raises."""
        while True:
            data = self._rest + self.machine.data_to_send()
            self._rest = b""
            if data:
                self._is_writing = True
                await transport.send_all(data)
                self._is_writing = False
            else:
                self._waiting = 0
                self._drained.unpark_all()
                await self._grew.park()

    def wake(self) -> None:
        """The machine may have something to send."""
        self._grew.unpark_all()

    def add(self, size: int) -> None:
        """This many bytes of data, or headers, were put into the machine."""
        self._waiting += size
        self.count += 1
        self.wake()

    def offer(self, id: int, data: bytes) -> bool:
        """Send the data now, if nobody has to wait for that; False: nothing was sent."""
        machine = self.machine
        if self._write_now is None or self._is_writing or self._rest or self._waiting:
            return False
        try:
            if len(data) > min(machine.local_flow_control_window(id), machine.max_outbound_frame_size):
                return False
            machine.send_data(id, data)
        except h2.exceptions.ProtocolError:
            return False
        self.count += 1
        whole = machine.data_to_send()
        written = self._write_now(whole)
        if written < len(whole):
            self._rest = whole[written:]
            self._waiting += len(self._rest)
            self.wake()
        return True

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
            await self._drained.park()
        return MAX_WAITING - self._waiting

    async def drain(self) -> None:
        """Wait until all output has been written."""
        self.wake()
        await self._drained.park()

    # Windows.

    async def _wait_for_window(self, id: int) -> None:
        if self.machine.outbound_flow_control_window <= 0:
            await self._shared.park()
            return
        self.pass_on()
        event = self._own[id] = trio.Event()
        try:
            await event.wait()
        finally:
            self._own.pop(id, None)

    def pass_on(self) -> None:
        """Wake the next task, if the connection's window is open. Called by tasks that were woken."""
        if self.machine.outbound_flow_control_window > 0:
            self._shared.unpark()

    def window_opened(self, id: int) -> None:
        """The peer opened the window of a stream, or of the connection if the id is 0."""
        if id == 0:
            self.pass_on()
        elif (event := self._own.pop(id, None)) is not None:
            event.set()

    def windows_changed(self) -> None:
        """The peer has changed the windows of all streams."""
        own, self._own = self._own, {}
        self.machine.work += len(own)
        for event in own.values():
            event.set()
