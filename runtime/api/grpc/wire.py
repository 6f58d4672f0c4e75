"""The bytes of a server's connection: read when there are some, written at once as far as the socket takes them.

What it does not take is kept, and goes out first; until then nothing else should be written. Over TLS everything given
at once is encrypted at once, so a batch is one record (of up to 16 KiB) and one system call.
"""

import os
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress

import trio

from nodespan.runtime.api.grpc.probing import keep_little

_CHUNK = 16 * 1024
# What is read at once of a peer that sends much.
_LARGE_CHUNK = 64 * 1024
# Bytes of TLS beside the data: so many are one unit of work. They are accounted for when there are more than an
# incomplete record holds; and so many bytes of answers to them may wait for a peer that does not read.
_UNIT = 32
_LARGEST_RECORD = 17 * 1024
_MOST_OWED = 64 * 1024


class Wire:
    """A socket. Reading and writing raise BrokenResourceError when the peer is gone."""

    __slots__ = ("_chunk", "_fd", "_stream", "rest")

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._fd = stream.socket.fileno()
        self._chunk = _CHUNK
        # What waits for room.
        self.rest = b""

    @property
    def file(self) -> int:
        """The number of the socket's file; -1 once it is closed."""
        return self._fd

    @property
    def certificate(self) -> bytes | None:
        """What the peer authenticated with, in DER form."""
        return None

    def close(self) -> None:
        """Close the socket: whoever waits for it gets ClosedResourceError, and what is written from now on is lost."""
        self._fd = -1
        self.rest = b""
        self._stream.socket.close()

    def keep_little(self, unsent: int) -> None:
        """Have the kernel take no more while so many bytes are not on their way yet."""
        keep_little(self._stream, unsent)

    def read_much(self) -> None:
        """From now on read more at once: the peer sends much."""
        self._chunk = _LARGE_CHUNK

    async def read(self) -> bytes:
        """What has come; b"" at its end. Always a checkpoint."""
        while True:
            self._require_open()
            await trio.lowlevel.wait_readable(self._fd)
            try:
                return os.read(self._fd, self._chunk)
            except BlockingIOError:
                continue
            except OSError as error:
                raise trio.BrokenResourceError from error

    def read_now(self) -> bytes | None:
        """What has come; None if nothing has, b"" if nothing will."""
        try:
            return os.read(self._fd, self._chunk)
        except BlockingIOError:
            return None
        except OSError:
            return b""  # it is broken: the peer is as gone as after an orderly end

    def _require_open(self) -> None:
        if self._fd < 0:
            raise trio.ClosedResourceError("the connection was closed")

    def send(self, data: bytes) -> None:
        """Write the data; what does not go at once is added to the rest."""
        self._put(data)

    def _put(self, data: bytes) -> None:
        if self.rest:
            self.rest += data
            return
        try:
            written = os.write(self._fd, data)
        except OSError:
            # There is no room, or the connection is broken, which `drain` finds out; or it is closed.
            written = 0 if self._fd >= 0 else len(data)
        if written < len(data):
            self.rest = data[written:]

    async def drain(self) -> None:
        """Wait until the rest is written."""
        while self.rest:
            self._require_open()
            await trio.lowlevel.wait_writable(self._fd)
            try:
                written = os.write(self._fd, self.rest)
            except BlockingIOError:
                continue
            except OSError as error:
                raise trio.BrokenResourceError from error
            self.rest = self.rest[written:]

    def end(self) -> None:
        """Say that nothing more comes."""
        with suppress(OSError):
            self._stream.socket.shutdown(socket.SHUT_WR)

    async def linger(self) -> None:
        """Say that nothing more comes, and wait until the peer says so too: the last bytes could be lost otherwise."""
        self.end()
        while await Wire.read(self):
            pass


class TLSWire(Wire):
    """The same over TLS: shake hands first. `spend` accounts for work: see `Seat.spend`."""

    __slots__ = ("_bare", "_incoming", "_outgoing", "_owed", "_spend", "_tls")

    def __init__(self, stream: trio.SocketStream, context: ssl.SSLContext, spend: Callable[[float], float]) -> None:
        super().__init__(stream)
        self._spend = spend
        # What was received without being data, as far as that is not accounted for.
        self._bare = 0
        # The answers of the protocol since nothing waited for room.
        self._owed = 0
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    @property
    def certificate(self) -> bytes | None:
        """What the peer authenticated with, in DER form."""
        return self._tls.getpeercert(binary_form=True)

    async def handshake(self) -> None:
        """Agree on keys. Raises BrokenResourceError if the peer and the server cannot."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._exchange()
            except ssl.SSLError as error:
                self._put(self._outgoing.read())  # the reason, for the peer
                raise trio.BrokenResourceError from error
            else:
                self._put(self._outgoing.read())
                await self.drain()
                return

    async def _exchange(self) -> None:
        """Send what the protocol has to say, and take what comes next."""
        if self._outgoing.pending:
            self._put(self._outgoing.read())
            await self.drain()
        data = await super().read()
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    async def read(self) -> bytes:
        """What has come; b"" at its end.

        A peer can have keys changed, and answered for, without ever sending data: that is work too.
        """
        while True:
            try:
                data = self._tls.read(_CHUNK)
            except ssl.SSLWantReadError:
                if not await self._receive_records():
                    return b""  # without a goodbye, as is usual
            except ssl.SSLZeroReturnError:
                return b""
            except ssl.SSLError as error:
                raise trio.BrokenResourceError from error
            else:
                if self._chunk > _CHUNK:
                    data = self._with_more(data)
                self._bare -= len(data)
                return data

    def _with_more(self, data: bytes) -> bytes:
        """The data of a record, and of those that have come with it."""
        parts, size = [data], len(data)
        try:
            while size < self._chunk:
                part = self._tls.read(_CHUNK)
                parts.append(part)
                size += len(part)
                if not part:
                    break
        except (ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            pass  # the next read finds the same
        except ssl.SSLError as error:
            raise trio.BrokenResourceError from error
        return b"".join(parts)

    async def _receive_records(self) -> bool:
        if self._outgoing.pending:
            self._answer(self._outgoing.read())
        if self._bare > _LARGEST_RECORD:
            work, self._bare = self._bare / _UNIT, 0
            await trio.sleep(self._spend(work))
        records = await super().read()
        self._bare += len(records)
        self._incoming.write(records)
        return bool(records)

    def _answer(self, data: bytes) -> None:
        if not self.rest:
            self._owed = 0
        self._owed += len(data)
        if self._owed > _MOST_OWED:
            raise trio.BrokenResourceError("the peer does not read the answers that it asks for")
        self._put(data)

    def send(self, data: bytes) -> None:
        """Encrypt and write the data; what does not go at once is added to the rest."""
        try:
            self._tls.write(data)
        except ssl.SSLError:
            return  # the connection is over, which the reader finds out
        self._put(self._outgoing.read())
