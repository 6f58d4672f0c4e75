"""The client's end of the local wire on trio, for programs that follow many kinds at once."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import msgpack
import trio

from nodespan.runtime.api import protocol

_CHUNK = 256 * 1024


class AgentGoneError(Exception):
    """No agent serves the socket, it is stopped, or it disconnected in the middle of an answer."""


class RefusedRequestError(Exception):
    """The agent answered with an error; `code` is one of `nodespan.runtime.api.protocol`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@asynccontextmanager
async def asking(path: str, request: dict[str, Any]) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
    """The answers to one request, as they come; leaving the block ends the request.

    Raises AgentGoneError, and from the iteration RefusedRequestError.
    """
    try:
        stream = await trio.open_unix_socket(path)
    except OSError as error:
        raise AgentGoneError(f"no agent answers at {path} ({error.strerror or error})") from error
    async with stream, aclosing(_answers(path, stream, request)) as answers:
        yield answers


async def _answers(path: str, stream: trio.SocketStream, request: dict[str, Any]) -> AsyncGenerator[dict[str, Any]]:
    unpacker = msgpack.Unpacker(max_buffer_size=0, strict_map_key=False, unicode_errors=protocol.UNICODE_ERRORS)
    try:
        await stream.send_all(msgpack.packb(request, unicode_errors=protocol.UNICODE_ERRORS))
        data = await _receive(path, stream)
        while data:
            unpacker.feed(data)
            for answer in unpacker:
                if "error" in answer:
                    raise RefusedRequestError(answer["error"], answer["message"])
                if "end" in answer:
                    return
                yield answer
            # A watch that has begun may be silent for any time.
            data = await (stream.receive_some(_CHUNK) if request.get("watch") else _receive(path, stream))
    except trio.BrokenResourceError as error:
        raise AgentGoneError(f"the agent at {path} went away") from error
    raise AgentGoneError(f"the agent at {path} went away before it had answered")


async def _receive(path: str, stream: trio.SocketStream) -> bytes:
    """What the agent sends next: whatever time that takes, as long as it answers others. Raises AgentGoneError."""
    while True:
        with trio.move_on_after(protocol.PATIENCE):
            return bytes(await stream.receive_some(_CHUNK))
        with trio.move_on_after(protocol.PATIENCE) as asked:
            try:
                async with await trio.open_unix_socket(path) as another:
                    await another.send_all(msgpack.packb({"call": "version"}))
                    await another.receive_some(1)
            except (OSError, trio.BrokenResourceError):
                # It has ended, as the connection that waits finds by then; or its queue of clients is full.
                with trio.move_on_after(protocol.PATIENCE):
                    return bytes(await stream.receive_some(_CHUNK))
                raise AgentGoneError(protocol.silent(path)) from None
        if asked.cancelled_caught:
            raise AgentGoneError(protocol.silent(path))


async def ask(path: str, request: dict[str, Any]) -> list[dict[str, Any]]:
    """All answers to one request. Raises AgentGoneError, RefusedRequestError."""
    async with asking(path, request) as answers:
        return [answer async for answer in answers]
