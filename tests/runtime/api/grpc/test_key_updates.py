"""A peer that has keys of TLS 1.3 changed all the time, without data: it is work, and does not fill the memory."""

import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha384
from pathlib import Path

import pytest
import trio
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from nodespan.runtime.api.grpc.wire import TLSWire
from tests.support.certificates import Authority

_HANDSHAKE, DATA = b"\x16", b"\x17"
_UPDATE = b"\x18\x00\x00\x01"


class Keys:
    """What a client sends after its handshake, record by record: its library never changes keys by itself."""

    def __init__(self, secret: bytes) -> None:
        self._change(secret)

    @classmethod
    def logged(cls, path: Path) -> "Keys":
        """Those of the last handshake of a client that logs them."""
        lines = [line for line in path.read_text().splitlines() if line.startswith("CLIENT_TRAFFIC_SECRET")]
        return cls(bytes.fromhex(lines[-1].split()[2]))

    def _change(self, secret: bytes) -> None:
        self._secret, self._number = secret, 0
        self._cipher, self._iv = AESGCM(_expand(secret, b"key", 32)), _expand(secret, b"iv", 12)

    def record(self, content: bytes, kind: bytes) -> bytes:
        """A record of so many bytes."""
        head = b"\x17\x03\x03" + (len(content) + 17).to_bytes(2, "big")
        nonce = (int.from_bytes(self._iv) ^ self._number).to_bytes(12, "big")
        self._number += 1
        return head + self._cipher.encrypt(nonce, content + kind, head)

    def update(self, *, asks: bool) -> bytes:
        """Keys change; the peer's have to, too, if it `asks` for that."""
        record = self.record(_UPDATE + bytes([asks]), _HANDSHAKE)
        self._change(_expand(self._secret, b"traffic upd", sha384().digest_size))
        return record


def _expand(secret: bytes, label: bytes, size: int) -> bytes:
    label = b"tls13 " + label
    info = size.to_bytes(2, "big") + bytes([len(label)]) + label + b"\x00"
    return HKDFExpand(SHA384(), size, info).derive(secret)


@asynccontextmanager
async def _shaken(tmp_path: Path, spend: list[float]) -> AsyncIterator[tuple[TLSWire, trio.SocketStream, Keys]]:
    """The server's end after a handshake, the client's socket, and its keys."""
    authority = Authority("test")
    certificate, key = authority.issue(tmp_path, "localhost")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    server.num_tickets = 0
    client = ssl.create_default_context(cadata=authority.pem.decode())
    client.keylog_filename = str(tmp_path / "keys")
    near, far = trio.socket.socketpair()
    far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)  # as little as the kernel allows

    def account(work: float) -> float:
        spend.append(work)
        return 0.0

    stream, other = trio.SocketStream(near), trio.SocketStream(far)
    wire = TLSWire(other, server, account)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wire.handshake)
        await trio.SSLStream(stream, client, server_hostname="localhost").do_handshake()
    async with stream, other:
        yield wire, stream, Keys.logged(tmp_path / "keys")


async def test_changes_of_keys_are_accounted_for_as_work_and_data_is_not(tmp_path: Path) -> None:
    spent: list[float] = []
    async with _shaken(tmp_path, spent) as (wire, peer, keys), trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(peer.send_all, keys.record(bytes(16_384), DATA))
            received = 0
            while received < 16_384:
                received += len(await wire.read())
        assert spent == []
        updates = b"".join(keys.update(asks=False) for _ in range(4000))
        nursery.start_soon(peer.send_all, updates + keys.record(b"x", DATA))
        assert await wire.read() == b"x"
        # One unit for 32 bytes, of which some may be left over for the next time.
        assert (len(updates) - 40_000) / 32 < sum(spent) <= (len(updates) + 1000) / 32


async def test_a_peer_that_does_not_read_the_answers_it_asks_for_loses_its_connection(tmp_path: Path) -> None:
    async with _shaken(tmp_path, []) as (wire, peer, keys), trio.open_nursery() as nursery:

        async def ask() -> None:
            while True:
                await peer.send_all(b"".join(keys.update(asks=True) for _ in range(100)))

        nursery.start_soon(ask)
        with pytest.raises(trio.BrokenResourceError, match="does not read"):
            await wire.read()
        nursery.cancel_scope.cancel()
        assert len(wire.rest) <= 64 << 10
