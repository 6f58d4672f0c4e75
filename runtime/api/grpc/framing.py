"""Messages in the body of a request or response: a flag, the length, the bytes."""

import struct
from collections import deque

from nodespan.runtime.api.grpc.status import Code, RPCError

_PREFIX = struct.Struct(">BI")
_UNCOMPRESSED = 0


def frame(message: bytes) -> bytes:
    """An encoded message with its prefix."""
    return _PREFIX.pack(_UNCOMPRESSED, len(message)) + message


def frame_head(size: int) -> bytes:
    """The prefix of a message of this size."""
    return _PREFIX.pack(_UNCOMPRESSED, size)


class OneMessage:
    """Collects a request's body, one message of at most `limit` bytes, and rejects an invalid one early.

    Bodies with several messages are rejected: no method of ours has a stream of requests.
    """

    __slots__ = ("_body", "_limit")

    def __init__(self, limit: int) -> None:
        self._body = bytearray()
        self._limit = limit

    def __len__(self) -> int:
        return len(self._body)

    def feed(self, data: bytes) -> None:
        """Add received data. Raises RPCError."""
        body = self._body
        body += data
        if len(body) < _PREFIX.size:
            return
        if len(body) > _PREFIX.size + _length(body, 0, self._limit):
            raise RPCError(Code.INTERNAL, "the method takes one message, the request has more")

    @property
    def is_whole(self) -> bool:
        """Whether the message is complete, whatever comes after it."""
        body = self._body
        return len(body) >= _PREFIX.size and len(body) >= _PREFIX.size + _PREFIX.unpack_from(body)[1]

    def take(self) -> bytes:
        """The message, now that the body has ended. Raises RPCError."""
        body = self._body
        if len(body) < _PREFIX.size or len(body) < _PREFIX.size + _PREFIX.unpack_from(body)[1]:
            raise RPCError(Code.INTERNAL, "the request ended in the middle of its message")
        return bytes(body[_PREFIX.size :])


class MessageReader:
    """Cuts a body into its messages, of at most `limit` bytes each."""

    __slots__ = ("_body", "_limit", "_messages", "complete")

    def __init__(self, limit: int) -> None:
        self._body = bytearray()
        self._limit = limit
        # A queue only while there are some: an empty one takes more memory than all else of an idle call.
        self._messages: deque[bytes] | tuple[()] = ()
        # The bytes of the complete messages, with their prefixes.
        self.complete = 0

    def __len__(self) -> int:
        """The bytes that are held, of complete messages and of the next one."""
        return self.complete + len(self._body)

    @property
    def has_message(self) -> bool:
        """Whether there is a complete message."""
        return bool(self._messages)

    @property
    def waiting(self) -> int:
        """How many complete messages there are."""
        return len(self._messages)

    @property
    def is_between(self) -> bool:
        """Whether the body may end here."""
        return not self._body

    def feed(self, data: bytes) -> None:
        """Add received data. Raises RPCError."""
        body, at = self._body, 0
        body += data
        while len(body) - at >= _PREFIX.size:
            end = at + _PREFIX.size + _length(body, at, self._limit)
            if len(body) < end:
                break
            message = bytes(memoryview(body)[at + _PREFIX.size : end])
            if self._messages:
                self._messages.append(message)
            else:
                self._messages = deque((message,))
            self.complete += end - at
            at = end
        del body[:at]

    def take(self) -> bytes | None:
        """The next message; None if it is not complete yet."""
        if not self._messages:
            self._messages = ()
            return None
        message = self._messages.popleft()
        self.complete -= _PREFIX.size + len(message)
        return message


def _length(body: bytearray, at: int, limit: int) -> int:
    """The length of the message whose prefix begins there. Raises RPCError for one that is refused."""
    compressed, length = _PREFIX.unpack_from(body, at)
    if compressed != _UNCOMPRESSED:
        raise RPCError(Code.UNIMPLEMENTED, "compressed messages are not supported")
    if length > limit:
        raise RPCError(Code.RESOURCE_EXHAUSTED, f"the message has {length} bytes, at most {limit} are taken")
    assert isinstance(length, int)
    return length
