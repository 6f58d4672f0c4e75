"""What the first call of a connection is, before the connection is served: so that another process may serve it.

The server says its settings, which clients wait for, and nothing else. Whatever is read is kept: who serves the
connection receives it again, as if nothing had happened.
"""

from typing import Protocol

import attrs
import h2.exceptions
import trio

from nodespan.runtime.api.grpc.framing import OneMessage
from nodespan.runtime.api.grpc.limits import Limits
from nodespan.runtime.api.grpc.method import Peer
from nodespan.runtime.api.grpc.server_machine import Headers, ServerMachine
from nodespan.runtime.api.grpc.status import RPCError
from nodespan.runtime.api.grpc.wire import Wire

# How long, in seconds, the first call is waited for, and how many bytes of it are kept.
_PATIENCE = 2.0
MOST_KEPT = 64 * 1024


class Elsewhere(Protocol):
    """Other processes that may serve a connection instead of this one."""

    def place_of(self, path: str, message: bytes) -> int | None:
        """Who serves a connection whose first call is this; None: this process."""
        ...

    async def hand_over(
        self, place: int, transport: trio.SocketStream, wire: Wire, peer: Peer, received: bytes
    ) -> None:
        """Give the connection away, and return when this process has nothing more to do for it."""
        ...


@attrs.define
class _First:
    """Collects the first call."""

    body: OneMessage
    id: int = 0
    path: str = ""
    is_over: bool = False
    message: bytes | None = None

    def begin(self, id: int, headers: Headers, *, has_ended: bool) -> None:
        fields = dict(reversed(headers))
        self.id, self.path = self.id or id, self.path or fields.get(":path", "")
        self.is_over = self.is_over or "application/grpc" not in fields.get("content-type", "") or has_ended

    def feed(self, id: int, data: bytes) -> None:
        if id == self.id and not self.is_over:
            try:
                self.body.feed(data)
                if self.body.is_whole:
                    # The call may go on, as those do whose ends both send: what it is shows by its first message.
                    self.is_over, self.message = True, self.body.take()
            except RPCError:
                self.is_over = True

    def complete(self, id: int) -> None:
        if id == self.id and not self.is_over:
            self.is_over = True
            try:
                self.message = self.body.take()
            except RPCError:
                return

    def was_reset(self, id: int) -> None:
        self.is_over = self.is_over or id == self.id

    def window_opened(self, id: int) -> None:
        pass

    def settings_changed(self, *, windows: bool) -> None:
        pass

    def pinged(self) -> None:
        pass


async def peek(wire: Wire, limits: Limits) -> tuple[bytes, tuple[str, bytes] | None]:
    """What was received, and the path and the message of the first call: None if it did not come, or is something else.

    Raises BrokenResourceError if the peer leaves meanwhile.
    """
    first = _First(OneMessage(limits.max_message))
    machine = ServerMachine(first, limits.max_concurrent_streams, limits.max_header_list)
    wire.send(machine.data_to_send())
    await wire.drain()
    received = bytearray()
    with trio.move_on_after(_PATIENCE):
        while not first.is_over and len(received) < MOST_KEPT:
            data = await wire.read()
            if not data:
                raise trio.BrokenResourceError("the peer has left")
            received += data
            try:
                machine.receive_data(data)
            except h2.exceptions.ProtocolError:
                break  # who serves it finds the same, and answers
            machine.data_to_send()
    return bytes(received), None if first.message is None else (first.path, first.message)
