"""What a connection is about to send: the protocol machine's output, and the one task that carries it to the peer.

Only that task touches the transport for writing, so that a call which is cancelled never leaves half a frame behind.
"""

import h2.connection
import trio

# What may lie here, in bytes of data, before tasks that have more are to wait.
MAX_WAITING = 64 * 1024


class Output:
    """The sending half of a connection, shared by its tasks. What changes the machine is followed by `wake`."""

    def __init__(self, machine: h2.connection.H2Connection) -> None:
        self.machine = machine
        # Woken when the peer takes more data.
        self.window_opened = trio.lowlevel.ParkingLot()
        # How often something other than answers to the peer's housekeeping was sent.
        self.count = 0
        self._grew = trio.lowlevel.ParkingLot()
        self._drained = trio.lowlevel.ParkingLot()
        self._waiting = 0

    async def write_to(self, transport: trio.abc.SendStream) -> None:
        """Carry everything over until cancelled. Raises what the transport raises."""
        while True:
            data = self.machine.data_to_send()
            if data:
                await transport.send_all(data)
            else:
                self._waiting = 0
                self._drained.unpark_all()
                await self._grew.park()

    def wake(self) -> None:
        """The machine may have something to send."""
        self._grew.unpark_all()

    def add(self, size: int) -> None:
        """So many bytes of data, or a response's head or end, were put into the machine."""
        self._waiting += size
        self.count += 1
        self.wake()

    async def room(self) -> int:
        """How many bytes of data may be put into the machine now; waits until there is room."""
        while self._waiting >= MAX_WAITING:
            await self._drained.park()
        return MAX_WAITING - self._waiting

    async def drain(self) -> None:
        """Wait until everything has been carried over."""
        self.wake()
        await self._drained.park()
