"""Packets between clients of a relay that are served by different processes: one socket for each process takes them.

A relay in several processes gives each a part of its ports, and each client the process that its key belongs to. What a
client sends to a port of another part goes to the process of that one: as a datagram of a local socket, which only this
service can send to. One that finds no room there is lost, as on any link.
"""

import errno
import socket
from typing import TYPE_CHECKING

import trio

from nodespan.discovery.relay.parts import MOST_PASSED
from nodespan.discovery.service.processes.team import Team

if TYPE_CHECKING:
    from nodespan.discovery.relay.relay import Relay

# So many are taken before others have their turn.
_IN_A_ROW = 8
_LOST = (errno.EAGAIN, errno.ENOBUFS, errno.ENOENT, errno.ECONNREFUSED)


class Passing:
    """Give `send` to a relay, and `run` it beside. Use it in a `with`."""

    def __init__(self, team: Team) -> None:
        self._team = team
        self._sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)

    def __enter__(self) -> "Passing":
        return self

    def __exit__(self, *_: object) -> None:
        self._sender.close()
        self._receiver.close()

    def send(self, place: int, data: bytes) -> bool:
        """Send something to the process at a place, which may be starting or busy; whether it was taken."""
        try:
            self._sender.sendto(data, str(self._team.packets_at(place)))
        except OSError as error:
            if error.errno not in _LOST:
                raise
            return False
        return True

    async def run(self, relay: "Relay", *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Give the relay what comes, until cancelled."""
        path = self._team.packets_at(self._team.place)
        path.unlink(missing_ok=True)
        self._receiver.bind(str(path))
        task_status.started()
        while True:
            await trio.lowlevel.wait_readable(self._receiver)
            try:
                for _ in range(_IN_A_ROW):
                    relay.take_passed(self._receiver.recv(MOST_PASSED))
            except BlockingIOError:
                continue
            await relay.next_turn()
