"""What is written at once, past the writer, keeps its place in the stream."""

import h2.config
import h2.connection
import h2.events
import trio
import trio.testing

from nodespan.runtime.api.grpc.machine import Machine
from nodespan.runtime.api.grpc.output import Output


class Socket:
    """Takes so many bytes at once; what it took, in order."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.taken = bytearray()

    def write(self, data: bytes) -> int:
        size = min(len(data), self.room)
        self.room -= size
        self.taken += data[:size]
        return size


class Transport(trio.abc.SendStream):
    """What the writer sends to the same socket, when it may."""

    def __init__(self, socket: Socket) -> None:
        self.socket = socket
        self.may = trio.Event()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.may.wait()
        self.socket.taken += data

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


def stream_of(window: int = 65_535) -> tuple[h2.connection.H2Connection, Machine]:
    """A client that has begun a request with such a window, and the server's machine, which has begun to answer."""
    client = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding=None))
    client.initiate_connection()
    client.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window})
    fields = {":method": "POST", ":scheme": "http", ":path": "/a.B/C", ":authority": "x"}
    client.send_headers(1, tuple(fields.items()), end_stream=True)
    server = Machine({}, 1000)
    server.initiate_connection()
    server.receive_data(client.data_to_send())
    server.send_headers(1, ((":status", "200"),))
    return client, server


def received(client: h2.connection.H2Connection, taken: bytearray) -> bytes:
    """The data that comes of it at the client."""
    events = client.receive_data(bytes(taken))
    return b"".join(event.data for event in events if isinstance(event, h2.events.DataReceived) and event.data)


async def test_what_fits_is_written_at_once() -> None:
    client, machine = stream_of()
    socket = Socket(1 << 20)
    output = Output(machine, socket.write)
    assert output.offer(1, b"one")
    assert output.offer(1, b"two")
    assert received(client, socket.taken) == b"onetwo"
    assert output.count == 2


async def test_what_did_not_fit_goes_before_all_else() -> None:
    client, machine = stream_of()
    socket = Socket(100)
    output = Output(machine, socket.write)
    transport = Transport(socket)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(output.write_to, transport)
        # The writer has taken nothing yet: the answer's head goes with the first data.
        assert output.offer(1, b"x" * 200)
        assert not output.offer(1, b"too early")
        await trio.testing.wait_all_tasks_blocked()
        # Now the writer is at it.
        assert not output.offer(1, b"too early")
        transport.may.set()
        await trio.testing.wait_all_tasks_blocked()
        socket.room = 1 << 20
        assert output.offer(1, b"y")
        assert received(client, socket.taken) == b"x" * 200 + b"y"
        nursery.cancel_scope.cancel()


async def test_without_room_in_the_window_or_a_way_past_the_writer_nothing_is_sent() -> None:
    _, machine = stream_of(window=10)
    socket = Socket(1 << 20)
    output = Output(machine, socket.write)
    assert not output.offer(1, b"eleven byte")
    assert output.offer(1, b"ten bytes.")
    assert not output.offer(1, b"1")
    assert not output.offer(3, b"no such stream")
    _, machine = stream_of()
    assert not Output(machine).offer(1, b"x")
    assert not Output(machine, socket.write).offer(1, b"x" * 20_000)
