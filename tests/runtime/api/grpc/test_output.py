"""What is written at once, past the writer, keeps its place in the stream."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import h2.config
import h2.connection
import h2.events
import h2.settings
import trio
import trio.testing

from nodespan.runtime.api.grpc.header_block import header_block
from nodespan.runtime.api.grpc.output import MAX_WAITING, ServerOutput
from nodespan.runtime.api.grpc.server_machine import ServerMachine
from nodespan.runtime.api.grpc.wire import Wire
from tests.runtime.api.grpc.test_server_machine import Recorder

HEAD = header_block(((":status", "200"), ("content-type", "application/grpc")))
TRAILERS = header_block((("grpc-status", "0"),))


class Socket(Wire):
    """Takes so many bytes at once; what it took, in order."""

    def __init__(self, room: int) -> None:
        self.rest = b""
        self.room = room
        self.taken = bytearray()
        self.writes = 0
        self.may = trio.Event()

    def send(self, data: bytes) -> None:
        assert not self.rest
        self.writes += 1
        size = min(len(data), self.room)
        self.room -= size
        self.taken += data[:size]
        self.rest = data[size:]

    async def drain(self) -> None:
        await self.may.wait()
        self.taken += self.rest
        self.rest = b""


@attrs.frozen
class Scene:
    client: h2.connection.H2Connection
    machine: ServerMachine
    socket: Socket
    output: ServerOutput
    # How often a writer was started.
    started: list[None]


@asynccontextmanager
async def scene(room: int = 1 << 20, window: int = 65_535) -> AsyncIterator[Scene]:
    """A client that has begun a request with such a window, and the output that answers it."""
    client = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding=None))
    client.initiate_connection()
    client.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window})
    client.increment_flow_control_window(1 << 20)
    fields = {":method": "POST", ":scheme": "http", ":path": "/a.B/C", ":authority": "x"}
    client.send_headers(1, tuple(fields.items()), end_stream=True)
    machine = ServerMachine(Recorder(), 10, 1000)
    machine.receive_data(client.data_to_send())
    client.receive_data(machine.data_to_send())
    socket = Socket(room)
    started: list[None] = []
    async with trio.open_nursery() as nursery:

        def start_writer() -> None:
            started.append(None)
            nursery.start_soon(output.write)

        output = ServerOutput(machine, socket, start_writer)
        yield Scene(client, machine, socket, output, started)
        nursery.cancel_scope.cancel()


def received(client: h2.connection.H2Connection, taken: bytearray) -> bytes:
    """The data that comes of it at the client."""
    events = client.receive_data(bytes(taken))
    return b"".join(event.data for event in events if isinstance(event, h2.events.DataReceived) and event.data)


async def test_what_fits_is_written_at_once_without_a_writer() -> None:
    async with scene() as now:
        assert now.output.offer(1, b"one", HEAD)
        assert now.output.offer(1, b"two")
        assert received(now.client, now.socket.taken) == b"onetwo"
        assert now.output.count == 2
        assert now.socket.writes == 2
        assert not now.started


async def test_a_whole_answer_is_one_write_and_so_many_bytes() -> None:
    async with scene() as now:
        assert now.output.answer(1, HEAD, b"12345", TRAILERS)
        assert now.socket.writes == 1
        # Three frames, the two blocks of fields, and the message.
        assert len(now.socket.taken) == 3 * 9 + len(HEAD) + len(TRAILERS) + 5 == 67
        events = now.client.receive_data(bytes(now.socket.taken))
        assert isinstance(events[-1], h2.events.StreamEnded)


async def test_what_did_not_fit_goes_before_all_else() -> None:
    async with scene(room=100) as now:
        assert now.output.offer(1, b"x" * 200, HEAD)
        assert not now.output.offer(1, b"too early")
        await trio.testing.wait_all_tasks_blocked()
        # Now the writer is at it.
        assert not now.output.offer(1, b"too early")
        now.machine.receive_data(b"\0\0\x08\x06\0\0\0\0\0" + bytes(8))
        now.output.wake()
        now.socket.may.set()
        await trio.testing.wait_all_tasks_blocked()
        now.socket.room = 1 << 20
        assert now.output.offer(1, b"y")
        assert received(now.client, now.socket.taken) == b"x" * 200 + b"y"
        assert len(now.started) == 1


async def test_what_waits_in_the_machine_goes_before_what_is_offered() -> None:
    async with scene() as now:
        assert now.output.offer(1, b"one", HEAD)
        # A ping, whose answer nobody has written yet.
        now.machine.receive_data(b"\0\0\x08\x06\0\0\0\0\0" + bytes(8))
        before = len(now.socket.taken)
        assert now.output.offer(1, b"two")
        assert now.socket.taken[before:].startswith(b"\0\0\x08\x06\x01")
        assert now.socket.writes == 2
        assert received(now.client, now.socket.taken) == b"onetwo"
        # Nothing waits: the frame is all that is written.
        assert now.output.offer(1, b"three")
        assert now.socket.taken.endswith(b"\0\0\x05\0\0\0\0\0\1three")


async def test_what_is_offered_counts_for_both_windows() -> None:
    async with scene(window=10) as now:
        assert now.output.offer(1, b"123456", HEAD)
        shared = now.machine.outbound_flow_control_window
        assert now.output.offer(1, b"7890")
        assert now.machine.local_flow_control_window(1) == 0
        assert now.machine.outbound_flow_control_window == shared - 4
        now.machine.outbound_flow_control_window = 2
        now.machine.receive_data(b"\0\0\x04\x08\0\0\0\0\1" + (10).to_bytes(4, "big"))
        assert not now.output.offer(1, b"abc")
        assert now.output.offer(1, b"ab")


async def test_without_room_in_the_window_nothing_is_sent() -> None:
    async with scene(window=10) as now:
        assert not now.output.offer(1, b"eleven byte", HEAD)
        assert not now.output.answer(1, HEAD, b"eleven byte", TRAILERS)
        assert now.output.offer(1, b"ten bytes.", HEAD)
        assert not now.output.offer(1, b"1")
        assert not now.output.offer(3, b"no such stream", HEAD)
        assert now.output.count == 1


async def test_what_one_connection_keeps_for_a_full_socket_is_bounded() -> None:
    async with scene(room=0, window=1 << 20) as now:
        assert not now.output.offer(1, bytes(MAX_WAITING + 1), HEAD)
        assert now.output.offer(1, bytes(MAX_WAITING), HEAD)
        assert not now.output.offer(1, b"x")
        await trio.testing.wait_all_tasks_blocked()
        with trio.move_on_after(0):
            await now.output.send_data(1, memoryview(b"more"))
        assert len(now.socket.rest) < MAX_WAITING + 100
        assert now.machine.data_to_send() == b""
        now.socket.may.set()
        await trio.testing.wait_all_tasks_blocked()
        assert received(now.client, now.socket.taken) == bytes(MAX_WAITING)
