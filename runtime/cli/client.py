"""The client's end of the local wire: blocking, and cheap to import."""

import contextlib
import errno
import itertools
import os
import socket
import struct
from collections.abc import Iterator
from typing import Any

import msgpack

from nodespan.runtime.api import protocol
from nodespan.runtime.cli.errors import CommandError

_CHUNK = 256 * 1024
# pid, uid, gid
_CREDENTIALS = struct.Struct("3i")
_CHANGES = ("action", "write")


class AgentGoneError(CommandError):
    """No agent serves the socket, it is stopped, or it disconnected in the middle of an answer."""


class OverrunError(CommandError):
    """This client reads too slowly for the agent to send every change; request again."""


class Connection:
    """One request to the agent. Iterate over it for the answers; closing it ends the request.

    An answer may take long to come, but an agent that answers nobody for some seconds is not waited for, also in the
    middle of an answer. A watch that has begun may be silent for any time.

    Raises CommandError with the agent's error text, AgentGoneError if the answer is cut off.
    """

    def __init__(self, path: str, request: dict[str, Any]) -> None:
        self._path = path
        self._changes = request["call"] in _CHANGES
        self._watches = bool(request.get("watch"))
        try:
            self._socket = _asking(path, request)
        except BlockingIOError as error:
            raise self._silent() from error
        except OSError as error:
            raise _explain(path, error) from error

    def __iter__(self) -> Iterator[dict[str, Any]]:
        unpacker = msgpack.Unpacker(max_buffer_size=0, strict_map_key=False, unicode_errors=protocol.UNICODE_ERRORS)
        has_begun = False
        while True:
            try:
                data = self._socket.recv(_CHUNK)
                if self._watches and not has_begun:
                    _limit(self._socket, socket.SO_RCVTIMEO, 0)
                    has_begun = True
            except BlockingIOError as error:
                if _is_silent(self._path):
                    raise self._silent() from error
                continue
            except OSError as error:
                raise _explain(self._path, error) from error
            if not data:
                raise AgentGoneError(f"the agent at {self._path} went away before it had answered")
            unpacker.feed(data)
            for answer in unpacker:
                if "error" in answer:
                    raise (OverrunError if answer["error"] == protocol.OVERRUN else CommandError)(answer["message"])
                if "end" in answer:
                    return
                yield answer

    def begun(self) -> Iterator[dict[str, Any]]:
        """The answers, once the first one has come: the kernel connects to an agent that is stopped, too."""
        answers = iter(self)
        return itertools.chain(list(itertools.islice(answers, 1)), answers)

    def _silent(self) -> AgentGoneError:
        text = protocol.silent(self._path)
        return AgentGoneError(f"{text}. It may do what this command wanted when it goes on" if self._changes else text)

    def open_process(self) -> int:
        """A file descriptor of the agent's process, readable once it has ended. Raises OSError.

        ProcessLookupError for a process that cannot be seen from here, as one outside of this container.
        """
        credentials = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        pid, _, _ = _CREDENTIALS.unpack(credentials)
        if pid == 0:
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
        return os.pidfd_open(pid)

    def interrupt(self) -> None:
        """From another thread: whoever iterates gets AgentGoneError."""
        with contextlib.suppress(OSError):  # it has ended by itself
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End the request."""
        self._socket.close()

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _asking(path: str, request: dict[str, Any]) -> socket.socket:
    """A connection that has sent a request. Raises OSError: BlockingIOError if the agent takes nothing."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # Not by the module's time-outs, with which a queue that is full for a moment would be an error at once.
        for step in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
            _limit(connection, step, protocol.PATIENCE)
        connection.connect(path)
        connection.sendall(msgpack.packb(request, unicode_errors=protocol.UNICODE_ERRORS))
    except BaseException:
        connection.close()
        raise
    return connection


def _limit(connection: socket.socket, step: int, seconds: float) -> None:
    """Have the kernel give up a step of this kind after so many seconds; 0 for never."""
    timeval = struct.pack("ll", int(seconds), int(seconds % 1 * 1_000_000))
    connection.setsockopt(socket.SOL_SOCKET, step, timeval)


def _is_silent(path: str) -> bool:
    """Whether the agent does not even say its version."""
    try:
        with _asking(path, {"call": "version"}) as connection:
            connection.recv(1)
    except BlockingIOError:
        return True
    except OSError:
        return False  # it has ended, as the connection that waits will find
    return False


def _explain(path: str, error: OSError) -> CommandError:
    if isinstance(error, PermissionError):
        return CommandError(f"{path}: permission denied: only the user that runs the agent may read its state")
    return AgentGoneError(
        f"no agent answers at {path} ({error.strerror or error}): start one with `nodespan agent`, "
        "or say where it listens with --socket or NODESPAN_SOCKET"
    )


def ask(path: str, request: dict[str, Any]) -> list[dict[str, Any]]:
    """All answers to one request."""
    with Connection(path, request) as connection:
        return list(connection)


def specs(path: str, type: str) -> list[dict[str, Any]]:
    """The specs of an agent's resources of a type, as plain data. Blocks; raises AgentGoneError, CommandError."""
    request: dict[str, Any] = {
        "call": "get",
        "type": type,
        "namespace": "",
        "id": None,
        "selectors": [],
        "watch": False,
        "form": "data",
    }
    replies = ask(path, request)
    return [reply["resource"]["spec"] for reply in replies if reply.get("event") == protocol.CREATED]
