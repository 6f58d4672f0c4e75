"""Follows an agent from threads, for programs that run on asyncio.

The terminal's library runs on asyncio, the agent's own client for programs on trio; both in one thread do not go
together. The blocking client of the command line needs neither: each watch is a thread that keeps what is there now,
and marks what changed. The program takes the marks a few times a second.
"""

import threading
from collections.abc import Callable, Iterable
from typing import Any

from nodespan.runtime.api import protocol
from nodespan.runtime.cli.client import AgentGoneError, Connection, OverrunError
from nodespan.runtime.cli.errors import CommandError

_RECONNECT = 0.5
Resource = dict[str, Any]
Answer = dict[str, Any]


class Follower:
    """One watch, in a thread of its own, through restarts of the agent until it is closed."""

    def __init__(self, socket: str, request: dict[str, Any], read: Callable[[Iterable[Answer]], None]) -> None:
        self._socket = socket
        self._request = request
        self._read = read
        self._connection: Connection | None = None
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self.is_up = True
        self.failure = ""
        self._thread = threading.Thread(target=self._run, daemon=True, name=str(request.get("type", request["call"])))
        self._thread.start()

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                with Connection(self._socket, self._request) as connection:
                    with self._lock:
                        self._connection = connection
                    if self._closed.is_set():
                        return
                    answers = connection.begun()
                    self.is_up = True
                    self._read(answers)
            except OverrunError:
                continue
            except AgentGoneError:
                self.is_up = False
                self._closed.wait(_RECONNECT)
            except CommandError as error:
                self.failure = str(error)
                return
            finally:
                with self._lock:
                    self._connection = None

    def close(self) -> None:
        """End the watch, and wait for its thread."""
        self._closed.set()
        with self._lock:
            if self._connection is not None:
                self._connection.interrupt()
        self._thread.join()


class FollowedKind:
    """The resources of a kind as they are now."""

    def __init__(self, socket: str, type: str) -> None:
        self._lock = threading.Lock()
        self._items: dict[str, Resource] = {}
        self._changed: set[str] = set()
        self.definition: dict[str, Any] = {}
        request: dict[str, Any] = {"call": "get", "type": type, "namespace": "", "id": None, "selectors": []}
        self.follower = Follower(socket, {**request, "watch": True, "form": "data"}, self._read)

    def _read(self, answers: Iterable[Answer]) -> None:
        stale: set[str] | None = None
        for answer in answers:
            with self._lock:
                if "definition" in answer:
                    self.definition = answer["definition"]
                    stale = set(self._items)
                elif answer["event"] == protocol.BOOTSTRAPPED:
                    for id in stale or ():
                        del self._items[id]
                        self._changed.add(id)
                    stale = None
                else:
                    id = answer["resource"]["metadata"]["id"]
                    if stale is not None:
                        stale.discard(id)
                    if answer["event"] == protocol.DESTROYED:
                        self._items.pop(id, None)
                    else:
                        self._items[id] = answer["resource"]
                    self._changed.add(id)

    def take(self) -> tuple[dict[str, Resource], set[str]]:
        """What is there now, and the ids that changed since the last call."""
        with self._lock:
            changed, self._changed = self._changed, set()
            return dict(self._items), changed

    def close(self) -> None:
        """End the watch."""
        self.follower.close()


class FollowedStatus:
    """The status of the node as it is now."""

    def __init__(self, socket: str) -> None:
        self._lock = threading.Lock()
        self._report: dict[str, Any] | None = None
        self.follower = Follower(socket, {"call": "status", "watch": True}, self._read)

    def _read(self, answers: Iterable[Answer]) -> None:
        for answer in answers:
            with self._lock:
                self._report = answer["status"]

    def take(self) -> dict[str, Any] | None:
        """The report if there is a new one since the last call."""
        with self._lock:
            report, self._report = self._report, None
            return report

    def close(self) -> None:
        """End the watch."""
        self.follower.close()
