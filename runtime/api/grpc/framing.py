"""Messages in the body of a request or response: a flag, the length, the bytes."""

import struct

from nodespan.runtime.api.grpc.status import Code, RPCError

_PREFIX = struct.Struct(">BI")
_UNCOMPRESSED = 0


def frame(message: bytes) -> bytes:
    """An encoded message with its prefix."""
    return _PREFIX.pack(_UNCOMPRESSED, len(message)) + message


class OneMessage:
    """Collects a request's body, which is one message of at most `limit` bytes, and tells early what cannot become one.

    Bodies of several messages do not occur: no method of ours has a stream of requests.
    """

    __slots__ = ("_body", "_limit")

    def __init__(self, limit: int) -> None:
        self._body = bytearray()
        self._limit = limit

    def __len__(self) -> int:
        return len(self._body)

    def feed(self, data: bytes) -> None:
        """Take what came. Raises RPCError."""
        body = self._body
        body += data
        if len(body) < _PREFIX.size:
            return
        compressed, length = _PREFIX.unpack_from(body)
        if compressed != _UNCOMPRESSED:
            raise RPCError(Code.UNIMPLEMENTED, "compressed messages are not supported")
        if length > self._limit:
            raise RPCError(Code.RESOURCE_EXHAUSTED, f"the message has {length} bytes, at most {self._limit} are taken")
        if len(body) > _PREFIX.size + length:
            raise RPCError(Code.INTERNAL, "the method takes one message, the request has more")

    def take(self) -> bytes:
        """The message, now that the body has ended. Raises RPCError."""
        body = self._body
        if len(body) < _PREFIX.size or len(body) < _PREFIX.size + _PREFIX.unpack_from(body)[1]:
            raise RPCError(Code.INTERNAL, "the request ended in the middle of its message")
        return bytes(body[_PREFIX.size :])
