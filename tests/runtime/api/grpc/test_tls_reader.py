"""Connections over TLS: whatever a peer does, it gets its answers or loses its connection, and no other does."""

import random
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import h2.settings
import hypothesis.strategies as st
import pytest
import trio
import trio.testing
from google.protobuf.wrappers_pb2 import BytesValue, Int32Value
from hypothesis import HealthCheck, given, settings

from nodespan.runtime.api.grpc import Code, Limits, frame
from nodespan.runtime.api.grpc.connection import Shared
from nodespan.runtime.api.grpc.polled import Reader
from nodespan.runtime.api.grpc.sources import Seat
from nodespan.runtime.api.grpc.wire import TLSWire, Wire
from tests.runtime.api.grpc import greeter as greeter_module
from tests.runtime.api.grpc.greeter import PATH, Greeter, Secured, raw, serving
from tests.runtime.api.grpc.test_at_once import QuickGreeter
from tests.runtime.api.grpc.test_key_updates import DATA, Keys
from tests.runtime.api.grpc.test_polled import counted_tasks
from tests.support.process import eventually

pytestmark = pytest.mark.usefixtures("_over_tls")


@pytest.fixture
def _over_tls(monkeypatch: pytest.MonkeyPatch, secured: Secured) -> None:
    monkeypatch.setattr(greeter_module, "secured", secured)


class Records:
    """A client whose records are sent when and as a test wants them."""

    def __init__(self, stream: trio.SocketStream, context: ssl.SSLContext) -> None:
        self.stream = stream
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")
        self.machine = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.machine.initiate_connection()
        self.said = b""

    async def handshake(self, *, size: int = 1 << 16) -> bytes:
        """Shake hands, in pieces of a size; returns the last records, which the server still waits for."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self.send(self._outgoing.read(), size=size)
                data = await self.stream.receive_some(1 << 16)
                assert data, "the server has closed the connection"
                self._incoming.write(data)
            else:
                return self._outgoing.read()

    async def send(self, records: bytes, *, size: int = 1 << 16) -> None:
        """Send records, in pieces of a size."""
        for at in range(0, len(records), size):
            await self.stream.send_all(records[at : at + size])

    def records(self) -> bytes:
        """What the machine has to say, encrypted; `said` is the same in plain text."""
        self.said = self.machine.data_to_send()
        self._tls.write(self.said)
        return self._outgoing.read()

    def goodbye(self) -> bytes:
        """A close_notify."""
        with suppress(ssl.SSLWantReadError):
            self._tls.unwrap()
        return self._outgoing.read()

    def echo(self, value: bytes) -> bytes:
        """The records of a request."""
        id = self.machine.get_next_available_stream_id()
        fields = ((":method", "POST"), (":scheme", "https"), (":authority", "x"), (":path", f"{PATH}/Echo"))
        self.machine.send_headers(id, (*fields, ("content-type", "application/grpc")))
        self.machine.send_data(id, frame(BytesValue(value=value).SerializeToString()), end_stream=True)
        return self.records()

    async def answer(self) -> bytes:
        """The next answer."""
        body = b""
        while True:
            try:
                data = self._tls.read(1 << 16)
            except ssl.SSLWantReadError:
                records = await self.stream.receive_some(1 << 16)
                assert records, "the server has closed the connection"
                self._incoming.write(records)
                continue
            assert data, "the server has said goodbye"
            for event in self.machine.receive_data(data):
                if isinstance(event, h2.events.DataReceived):
                    body += event.data
                if isinstance(event, h2.events.StreamEnded):
                    return BytesValue.FromString(body[5:]).value

    async def closed(self) -> None:
        """Wait until the server has closed the connection."""
        with suppress(trio.BrokenResourceError):
            while await self.stream.receive_some(1 << 16):
                pass


@asynccontextmanager
async def _connected(greeter: Greeter) -> AsyncIterator[Records]:
    assert greeter.trust is not None
    async with await trio.open_tcp_stream("127.0.0.1", greeter.port) as stream:
        yield Records(stream, greeter.trust)


@asynccontextmanager
async def _shaken(greeter: Greeter) -> AsyncIterator[Records]:
    async with _connected(greeter) as client:
        await client.send(await client.handshake())
        yield client


async def _still_serves(greeter: Greeter) -> None:
    async with _shaken(greeter) as client:
        await client.send(client.echo(b"still"))
        assert await client.answer() == b"still"


async def _gone(greeter: Greeter, connections: int = 0) -> None:
    await eventually(lambda: greeter.sources.connections == connections)


async def test_a_connection_has_a_task_only_until_hands_are_shaken() -> None:
    async with serving(greeter=QuickGreeter()) as greeter, counted_tasks() as tasks, _shaken(greeter) as client:
        for number in range(3):
            await client.send(client.echo(b"%d" % number))
            assert await client.answer() == b"%d" % number
        assert tasks.names == tasks.ended == ["_converse"]
    await _gone(greeter)


@pytest.mark.parametrize("size", [1, 7, 1 << 16])
async def test_what_comes_with_the_end_of_the_handshake_is_answered_in_whatever_pieces_it_comes(size: int) -> None:
    async with serving(greeter=QuickGreeter()) as greeter, _connected(greeter) as client:
        last = await client.handshake(size=size)
        await client.send(last + client.echo(b"early") + client.echo(b"twice"), size=size)
        assert [await client.answer(), await client.answer()] == [b"early", b"twice"]


async def test_half_a_record_that_comes_with_the_end_of_the_handshake_is_kept() -> None:
    async with serving(greeter=QuickGreeter()) as greeter, _connected(greeter) as client:
        last, request = await client.handshake(), client.echo(b"halves")
        await client.send(last + request[:-9])
        await eventually(lambda: greeter.sources.connections == 1)
        await trio.testing.wait_all_tasks_blocked()
        await client.send(request[-9:])
        assert await client.answer() == b"halves"


async def test_connections_that_shake_hands_and_talk_at_once_do_not_hear_each_other() -> None:
    # All of them use the same buffers.
    async with serving(greeter=QuickGreeter()) as greeter:

        async def talk(seed: int) -> None:
            pick = random.Random(seed)
            async with _connected(greeter) as client:
                records = await client.handshake(size=pick.randint(20, 200))
                for number in range(5):
                    value = b"%d %d" % (seed, number) * pick.randint(1, 3000)
                    await client.send(records + client.echo(value), size=pick.randint(50, 9000))
                    assert await client.answer() == value
                    records = b""

        async with trio.open_nursery() as nursery:
            for seed in range(12):
                nursery.start_soon(talk, seed)
        await _gone(greeter)


async def test_a_client_of_tls_1_2_is_served(secured: Secured) -> None:
    old = ssl.create_default_context(cadata=secured.root.decode())
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    async with serving(greeter=QuickGreeter()) as greeter:
        greeter.trust = old
        await _still_serves(greeter)


# What breaks the rules of TLS.


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
async def test_garbage_after_the_handshake_ends_its_connection_only(data: st.DataObject) -> None:
    async with serving(greeter=QuickGreeter()) as greeter, _shaken(greeter) as other:
        async with _shaken(greeter) as client:
            good = client.echo(b"good")
            records = bytearray(client.echo(b"bad") + client.echo(b"worse"))
            kind = data.draw(st.sampled_from(["flipped", "cut", "random", "twice"]))
            if kind == "flipped":
                # The third byte is the version, which is ignored; a length that grows waits for more.
                at = data.draw(st.sampled_from([0, 1, *range(5, 60)]))
                records[at] ^= data.draw(st.integers(1, 255))
            elif kind == "cut":
                del records[data.draw(st.integers(5, 60))]
            elif kind == "random":
                records[:] = b"\x17\x03\x03\x00\x20" + data.draw(st.binary(min_size=32, max_size=300))
            else:
                records[:] = good
            with suppress(trio.BrokenResourceError):
                await client.send(good + records)
                await client.stream.send_eof()  # a record may have become longer than what there is
            await client.closed()
        await _gone(greeter, 1)
        await other.send(other.echo(b"fine"))
        assert await other.answer() == b"fine"


async def test_a_peer_that_speaks_plain_text_after_the_handshake_loses_its_connection() -> None:
    async with serving(greeter=QuickGreeter()) as greeter:
        async with _shaken(greeter) as client:
            await client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            await client.closed()
        await _still_serves(greeter)


@pytest.mark.parametrize("first", [b"", b"request"], ids=["alone", "after a request"])
async def test_a_peer_that_says_goodbye_without_leaving_is_not_waited_for(first: bytes) -> None:
    async with serving(greeter=QuickGreeter()) as greeter:
        async with _shaken(greeter) as client:
            await client.send((client.echo(first) if first else b"") + client.goodbye())
            await client.closed()
            await _gone(greeter)
        await _still_serves(greeter)


async def test_a_peer_that_leaves_without_a_goodbye_leaves_nothing() -> None:
    async with serving() as greeter, raw(greeter) as client:
        client.request(f"{PATH}/Hang", frame(b""))
        await client.flush()
        await eventually(lambda: greeter.calls)
        assert isinstance(client.stream, trio.SSLStream)
        await client.stream.transport_stream.send_eof()
        await greeter.cancelled.wait()
        await _gone(greeter)


@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01\x02\x00\x01", b"drips"], ids=["nothing", "half", "drips"])
async def test_a_handshake_that_does_not_end_is_given_up(said: bytes) -> None:
    async with serving(Limits(handshake=0.2)) as greeter:
        async with await trio.open_tcp_stream("127.0.0.1", greeter.port) as stream:
            with suppress(trio.BrokenResourceError):
                if said == b"drips":
                    await stream.send_all(b"\x16\x03\x01\x3f\x00\x01\x00\x3e\xfc\x03\x03")
                    while True:
                        await stream.send_all(b"\0")
                await stream.send_all(said)
                while await stream.receive_some(100):
                    pass
        await _gone(greeter)


# All at once.


async def _behave(client: Records, kind: str, pick: random.Random) -> None:
    """Be a client of a kind, and leave."""
    if kind == "half a handshake":
        await client.stream.send_all(b"\x16\x03\x01\x02")
        return
    records = await client.handshake(size=pick.randint(20, 600))
    if kind == "no end of it":
        return
    request = client.echo(b"x" * pick.randint(0, 9000))
    if kind == "garbage":
        await client.send(records + request + pick.randbytes(pick.randint(1, 300)))
    elif kind == "goodbye":
        await client.send(records + request + client.goodbye())
        await client.closed()
    elif kind == "half a request":
        await client.send(records + request[: pick.randint(1, len(request))])
    else:
        await client.send(records + request, size=pick.randint(500, 9000))
        assert len(await client.answer()) <= 9000
        await client.send(client.echo(b"again"))
        assert await client.answer() == b"again"


_KINDS = ("half a handshake", "no end of it", "garbage", "goodbye", "half a request")


async def test_clients_of_all_kinds_beside_each_other_leave_nothing_and_the_good_ones_are_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    readers: list[Reader] = []
    make = Reader.__init__

    def init(reader: Reader, nursery: trio.Nursery, shared: Shared) -> None:
        make(reader, nursery, shared)
        readers.append(reader)

    monkeypatch.setattr(Reader, "__init__", init)
    async with serving(greeter=QuickGreeter()) as greeter:

        async def be(seed: int) -> None:
            pick = random.Random(seed)
            for _ in range(6):
                async with _connected(greeter) as client:
                    await _behave(client, "good", pick)
                async with _connected(greeter) as client:
                    with suppress(trio.BrokenResourceError):
                        await _behave(client, pick.choice(_KINDS), pick)

        async with trio.open_nursery() as nursery:
            for seed in range(10):
                nursery.start_soon(be, seed)
        await _gone(greeter)
        (reader,) = readers
        shared = reader.shared
        assert [*shared.connections, *shared.expiring, *shared.slow, *reader._by_file] == []
        assert (greeter.sources.held, len(greeter.sources)) == (0, 0)


# Peers that do not read, and keys that change.


async def test_what_a_peer_does_not_read_is_bounded_and_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    rests: list[int] = []
    put = Wire._put

    def counted(wire: Wire, data: bytes) -> None:
        put(wire, data)
        rests.append(len(wire.rest))

    monkeypatch.setattr(Wire, "_put", counted)
    async with serving(Limits(max_stall=0.1)) as greeter, raw(greeter) as client:
        client.machine.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 2**31 - 1})
        client.machine.increment_flow_control_window(2**31 - 1 - 65_535)
        client.request(f"{PATH}/Blocks", frame(Int32Value(value=50).SerializeToString()))
        await client.flush()
        await eventually(lambda: greeter.finished)
        assert [(name, status.code) for name, status in greeter.finished] == [("Blocks", Code.ABORTED)]
        # One message, of which as much is encrypted as may wait, and what records add to that.
        assert 0 < max(rests) <= (64 << 10) + 1024
        await _still_serves(greeter)


async def test_answers_wait_for_a_peer_that_reads_late() -> None:
    async with serving() as greeter, raw(greeter) as client:
        client.machine.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 2**31 - 1})
        client.machine.increment_flow_control_window(2**31 - 1 - 65_535)
        id = client.request(f"{PATH}/Blocks", frame(Int32Value(value=8).SerializeToString()))
        await client.flush()
        await eventually(lambda: greeter.calls)
        await trio.testing.wait_all_tasks_blocked()
        received = 0
        while received < 8 << 20:
            event = await client.until(h2.events.DataReceived)
            assert event.stream_id == id
            received += len(event.data)
        await client.until(h2.events.StreamEnded)


async def _with_keys(client: Records, path: Path) -> Keys:
    """What it sends from now on has these keys, and not its own."""
    await client.send(await client.handshake())
    return Keys.logged(path)


async def test_keys_that_change_all_the_time_are_work_and_the_connection_lasts(
    tmp_path: Path, secured: Secured, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is more than any request makes is to be rested for.
    monkeypatch.setattr(Seat, "spend", lambda _seat, work: 0.01 if work > 500 else 0.0)
    client_context = ssl.create_default_context(cadata=secured.root.decode())
    client_context.keylog_filename = str(tmp_path / "keys")
    async with serving(greeter=QuickGreeter()) as greeter:
        greeter.trust = client_context
        async with _connected(greeter) as client, counted_tasks() as tasks:
            keys = await _with_keys(client, tmp_path / "keys")
            await eventually(lambda: "_converse" in tasks.ended)
            await client.send(b"".join(keys.update(asks=False) for _ in range(1500)))
            # It rests, which takes a task, and is read on after that.
            await eventually(lambda: tasks.ended.count("_read_on") >= 1)
            client.echo(b"after")
            await client.send(keys.record(client.said, DATA))
            assert await client.answer() == b"after"


async def test_a_peer_that_has_keys_changed_and_does_not_read_loses_its_connection(
    tmp_path: Path, secured: Secured
) -> None:
    client_context = ssl.create_default_context(cadata=secured.root.decode())
    client_context.keylog_filename = str(tmp_path / "keys")
    async with serving(greeter=QuickGreeter()) as greeter:
        greeter.trust = client_context
        async with _connected(greeter) as client:
            client.stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
            keys = await _with_keys(client, tmp_path / "keys")
            with suppress(trio.BrokenResourceError):
                while True:
                    await client.send(b"".join(keys.update(asks=True) for _ in range(100)))
            await _gone(greeter)
        greeter.trust = secured.client
        await _still_serves(greeter)


# The end.


async def test_a_server_that_stops_says_so_and_waits_for_no_handshake() -> None:
    async with AsyncExitStack() as stack:
        greeter = await stack.enter_async_context(serving(greeter=QuickGreeter()))
        idle = await stack.enter_async_context(raw(greeter))
        await idle.flush()
        await idle.until(h2.events.SettingsAcknowledged)
        beginner = await stack.enter_async_context(await trio.open_tcp_stream("127.0.0.1", greeter.port))
        await beginner.send_all(b"\x16\x03\x01")
        await _gone(greeter, 2)
        # What was sent is read: with something unread the connection would be reset.
        await trio.testing.wait_all_tasks_blocked()
        greeter.scope.cancel()
        said = await idle.until(h2.events.ConnectionTerminated)
        assert said.error_code == 0
        with suppress(trio.BrokenResourceError):
            assert await beginner.receive_some(100) == b""
    await _gone(greeter)


async def test_a_server_that_stops_lets_calls_over_tls_finish() -> None:
    async with serving() as greeter, raw(greeter) as client:
        client.request(f"{PATH}/Wait", frame(Int32Value(value=50).SerializeToString()))
        await client.flush()
        await eventually(lambda: greeter.calls)
        greeter.scope.cancel()
        trailers = await client.until(h2.events.TrailersReceived)
        assert dict[object, object](trailers.headers)["grpc-status"] == "0"


async def test_a_handshake_that_ends_when_the_server_has_stopped_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    handshake = TLSWire.handshake
    async with serving(greeter=QuickGreeter()) as greeter:

        async def late(wire: TLSWire) -> None:
            await handshake(wire)
            greeter.scope.cancel()
            # Whatever else there is has ended by then: this one is still expected.
            with trio.CancelScope(shield=True):
                await trio.testing.wait_all_tasks_blocked()

        monkeypatch.setattr(TLSWire, "handshake", late)
        async with _connected(greeter) as client:
            await client.send(await client.handshake())
            await client.closed()
            assert greeter.scope.cancel_called
        await _gone(greeter)
