"""The bytes of a server's connection: read when there are some, written at once as far as the socket takes them.

What it does not take is kept, and goes out first; until then nothing else should be written. Over TLS everything given
at once is encrypted at once, so a batch is one record (of up to 16 KiB) and one system call.
"""

import os
import socket
import ssl
from contextlib import suppress

import trio

_CHUNK = 16 * 1024


class Wire:
    """A socket. Reading and writing raise BrokenResourceError when the peer is gone."""

    __slots__ = ("_fd", "_stream", "rest")

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._fd = stream.socket.fileno()
        # What waits for room.
        self.rest = b""

    @property
    def certificate(self) -> bytes | None:
        """What the peer authenticated with, in DER form."""
        return None

    async def read(self) -> bytes:
        """What has come; b"" at its end. Always a checkpoint."""
        while True:
            await trio.lowlevel.wait_readable(self._fd)
            try:
                return os.read(self._fd, _CHUNK)
            except BlockingIOError:
                continue
            except OSError as error:
                raise trio.BrokenResourceError from error

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
            written = 0  # there is no room, or the connection is broken, which `drain` finds out
        if written < len(data):
            self.rest = data[written:]

    async def drain(self) -> None:
        """Wait until the rest is written."""
        while self.rest:
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
    """The same over TLS: shake hands first."""

    __slots__ = ("_incoming", "_outgoing", "_tls")

    def __init__(self, stream: trio.SocketStream, context: ssl.SSLContext) -> None:
        super().__init__(stream)
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
        """What has come; b"" at its end."""
        while True:
            try:
                return self._tls.read(_CHUNK)
            except ssl.SSLWantReadError:
                if self._outgoing.pending:
                    self._put(self._outgoing.read())
                data = await super().read()
                if not data:
                    return b""  # without a goodbye, as is usual
                self._incoming.write(data)
            except ssl.SSLZeroReturnError:
                return b""
            except ssl.SSLError as error:
                raise trio.BrokenResourceError from error

    def send(self, data: bytes) -> None:
        """Encrypt and write the data; what does not go at once is added to the rest."""
        try:
            self._tls.write(data)
        except ssl.SSLError:
            return  # the connection is over, which the reader finds out
        self._put(self._outgoing.read())
