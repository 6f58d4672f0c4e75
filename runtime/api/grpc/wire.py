"""The bytes of a server's connection: read when there are some, written at once as far as the socket takes them.

What it does not take is kept, and goes out first; until then nothing else should be written. Over TLS everything given
at once is encrypted at once, so a batch is one record (of up to 16 KiB) and one system call.

Over TLS too, each read is one read of the socket, and what has come is decrypted at once: all of it, but for a record
that is not complete, which OpenSSL keeps. So what there is to read is what the kernel says there is, whoever asks it.
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

    @property
    def has_early(self) -> bool:
        """Whether there is something to read that the kernel does not know of: it has come with the handshake."""
        return False

    def pause(self) -> float:
        """For how many seconds not to read, for what the peer has sent without its being data."""
        return 0.0

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


class Buffers:
    """Where the connections of one thread put what OpenSSL is to decrypt, and it what is to be sent.

    Each empties them before another uses them: buffers of its own would keep the size of the largest write.
    """

    __slots__ = ("incoming", "outgoing")

    def __init__(self) -> None:
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()


class TLSWire(Wire):
    """The same over TLS: shake hands first. `spend` accounts for work: see `Seat.spend`."""

    __slots__ = ("_bare", "_buffers", "_early", "_has_ended", "_owed", "_spend", "_tls")

    def __init__(
        self,
        stream: trio.SocketStream,
        context: "ssl.SSLContext",
        spend: Callable[[float], float],
        buffers: Buffers | None = None,
    ) -> None:
        super().__init__(stream)
        self._spend = spend
        # What was received without being data, as far as that is not accounted for.
        self._bare = 0
        # The answers of the protocol since nothing waited for room.
        self._owed = 0
        # Records that have come with the end of the handshake.
        self._early = b""
        self._has_ended = False
        self._buffers = buffers = buffers or Buffers()
        self._tls = context.wrap_bio(buffers.incoming, buffers.outgoing, server_side=True)

    @property
    def certificate(self) -> bytes | None:
        """What the peer authenticated with, in DER form."""
        return self._tls.getpeercert(binary_form=True)

    @property
    def has_early(self) -> bool:
        """Whether there is something to read that the kernel does not know of: it has come with the handshake."""
        return bool(self._early)

    async def handshake(self) -> None:
        """Agree on keys. Raises BrokenResourceError if the peer and the server cannot."""
        while not self._shake(self._early):
            if self.rest:
                await self.drain()
            self._early = await super().read()
            if not self._early:
                raise trio.BrokenResourceError("the peer has left")
        await self.drain()

    def _shake(self, records: bytes) -> bool:
        """One step of the handshake; whether it was the last."""
        incoming = self._buffers.incoming
        try:
            incoming.write(records)
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError as error:
            raise trio.BrokenResourceError from error
        else:
            return True
        finally:
            self._early = incoming.read()
            self._put(self._buffers.outgoing.read())  # after a failure the reason, for the peer

    async def read(self) -> bytes:
        """What has come; b"" at its end. Raises BrokenResourceError also when the peer breaks the rules of TLS.

        A peer can have keys changed, and answered for, without ever sending data: that is work too.
        """
        while True:
            if pause := self.pause():
                await trio.sleep(pause)
            self._require_open()
            if self._early:
                await trio.lowlevel.checkpoint()
            else:
                await trio.lowlevel.wait_readable(self._fd)
            data = self._receive()
            if data is not None:
                return data

    def read_now(self) -> bytes | None:
        """What has come; None if nothing has, b"" if nothing will."""
        try:
            return self._receive()
        except trio.BrokenResourceError:
            return b""

    def pause(self) -> float:
        """For how many seconds not to read, for what the peer has sent without its being data."""
        if self._bare <= _LARGEST_RECORD:
            return 0.0
        work, self._bare = self._bare / _UNIT, 0
        return self._spend(work)

    def _receive(self) -> bytes | None:
        if self._has_ended:
            return b""
        if self._early:
            records, self._early = self._early, b""
        elif come := super().read_now():
            records = come
        else:
            return come  # if that is the end: without a goodbye, as is usual
        self._bare += len(records)
        data = self._decrypt(records)
        self._bare -= len(data)
        return data or self._nothing()

    def _nothing(self) -> bytes | None:
        return b"" if self._has_ended else None

    def _decrypt(self, records: bytes) -> bytes:
        """The data of the records that are complete by now. Raises BrokenResourceError."""
        incoming, outgoing = self._buffers.incoming, self._buffers.outgoing
        parts: list[bytes] = []
        failure: ssl.SSLError | None = None
        try:
            incoming.write(records)
            read = self._tls.read
            while part := read(_CHUNK):
                parts.append(part)
            self._end_reading()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            failure = error
            self._end_reading()
        finally:
            # What comes after a goodbye, or after what cannot be decrypted, is for nobody.
            incoming.read()
            answers = outgoing.read()
        if answers:
            self._answer(answers)
        if failure is not None and not parts:
            raise trio.BrokenResourceError from failure
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _end_reading(self) -> None:
        """Nothing more is read; whoever waits for the socket is woken to find that out."""
        self._has_ended = True
        with suppress(OSError):
            self._stream.socket.shutdown(socket.SHUT_RD)

    def _answer(self, data: bytes) -> None:
        if not self.rest:
            self._owed = 0
        self._owed += len(data)
        if self._owed > _MOST_OWED:
            raise trio.BrokenResourceError("the peer does not read the answers that it asks for")
        self._put(data)

    def send(self, data: bytes) -> None:
        """Encrypt and write the data; what does not go at once is added to the rest."""
        outgoing = self._buffers.outgoing
        try:
            self._tls.write(data)
        except ssl.SSLError:
            # The connection is over, which who reads finds out: half of what was said is worth nothing.
            self._end_reading()
        finally:
            records = outgoing.read()
        self._put(records)
