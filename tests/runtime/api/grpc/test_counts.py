"""What a call costs, in what can be counted: system calls, bytes and encryptions."""

import os
import ssl
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h2.events
import pytest
import trio
from google.protobuf.wrappers_pb2 import Int32Value

from nodespan.runtime.api.grpc import frame
from nodespan.runtime.api.grpc.wire import TLSWire
from tests.runtime.api.grpc.greeter import RawClient, raw, serving
from tests.support.certificates import Authority

HEAD, TRAILERS, FRAME = 20, 15, 9


class Counter:
    """Counts what the server reads and writes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reads: list[int] = []
        self.writes: list[int] = []

        def read(descriptor: int, size: int) -> bytes:
            data = os.read(descriptor, size)
            self.reads.append(len(data))
            return data

        def write(descriptor: int, data: bytes) -> int:
            size = os.write(descriptor, data)
            self.writes.append(size)
            return size

        monkeypatch.setattr("nodespan.runtime.api.grpc.wire.os", SimpleNamespace(read=read, write=write))

    def take(self) -> tuple[list[int], list[int]]:
        taken = self.reads, self.writes
        self.reads, self.writes = [], []
        return taken


async def test_a_call_is_one_read_and_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    counter = Counter(monkeypatch)
    async with serving() as greeter, raw(greeter) as client:
        await client.flush()
        await client.until(h2.events.SettingsAcknowledged)
        # The greeting, and the acknowledgement of the client's settings.
        _, writes = counter.take()
        assert writes == [21, 9]
        for _ in range(3):
            id = client.request("/test.Greeter/Echo", frame(b"\x0a\x03abc"))
            await client.flush()
            assert (await client.until(h2.events.StreamEnded)).stream_id == id
            reads, writes = counter.take()
            assert len(reads) == 1
            assert writes == [3 * FRAME + HEAD + TRAILERS + 5 + 5]


async def test_a_message_of_a_stream_is_one_write_of_its_bytes_and_a_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    counter = Counter(monkeypatch)
    async with serving() as greeter, raw(greeter) as client:
        await client.flush()
        await client.until(h2.events.SettingsAcknowledged)
        counter.take()
        client.request("/test.Greeter/Count", frame(Int32Value(value=3).SerializeToString()))
        await client.flush()
        await client.until(h2.events.StreamEnded)
        _, writes = counter.take()
        assert writes == [2 * FRAME + HEAD + 5, FRAME + 5 + 2, FRAME + 5 + 2, FRAME + TRAILERS]


async def test_over_tls_an_answer_is_encrypted_once_and_written_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    authority = Authority("test")
    certificate, key = authority.issue(tmp_path, "localhost")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    trusting = ssl.create_default_context(cadata=authority.pem.decode())
    encrypted: list[int] = []

    class Counting(TLSWire):
        def send(self, data: bytes) -> None:
            encrypted.append(len(data))
            super().send(data)

    monkeypatch.setattr("nodespan.runtime.api.grpc.server.TLSWire", Counting)
    counter = Counter(monkeypatch)
    async with serving(tls=lambda: server) as greeter:
        stream: Any = await trio.open_ssl_over_tcp_stream("localhost", greeter.port, ssl_context=trusting)
        async with stream:
            client = RawClient(stream)
            await client.flush()
            await client.until(h2.events.SettingsAcknowledged)
            counter.take()
            encrypted.clear()
            client.request("/test.Greeter/Echo", frame(b"\x0a\x03abc"))
            await client.flush()
            await client.until(h2.events.StreamEnded)
            _, writes = counter.take()
            assert encrypted == [3 * FRAME + HEAD + TRAILERS + 10]
            assert len(writes) == 1
