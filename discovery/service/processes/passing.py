"""Packets between clients of a relay that are served by different processes: one socket for each process takes them.

A relay in several processes gives each a part of its ports, and each client the process that its key belongs to. What a
client sends to a port of another part goes to the process of that one: as a datagram of a local socket, which only this
service can send to, with all that one piece of work has for that process. One that finds no room there is lost, as on
any link: such a socket keeps 11 datagrams, and as many bytes as the sender's buffer has room for.
"""

import socket
from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from nodespan.discovery.relay.parts import MOST_PASSED
from nodespan.discovery.service.processes.team import Team

if TYPE_CHECKING:
    from nodespan.discovery.relay.relay import Relay

# So many packets and messages are taken before others have their turn: no more than of one client.
_IN_A_ROW = 64
# Bytes that may wait in a process, of each other one; the kernel may allow less.
_MOST_WAITING = 512 << 10


class Passing:
    """Give `send` to a relay, and `run` it beside. Use it in a `with`."""

    def __init__(self, team: Team) -> None:
        self._team = team
        # By place: what waits in a process takes room of the socket that has sent it.
        self._senders: dict[int, socket.socket] = {}
        self._receiver = _new_socket()

    def __enter__(self) -> "Passing":
        return self

    def __exit__(self, *_: object) -> None:
        for sender in self._senders.values():
            sender.close()
        self._receiver.close()

    def send(self, place: int, data: bytes) -> bool:
        """Send something to the process at a place, which may be starting or busy; whether it was taken.

        What cannot be sent is lost, whatever the reason: it is no fault of the client whose packets they are.
        """
        try:
            sender = self._senders.get(place)
            if sender is None:
                sender = self._senders[place] = _new_socket()
                sender.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _MOST_WAITING)
            sender.sendto(data, str(self._team.packets_at(place)))
        except OSError:
            return False
        return True

    async def run(self, relay: "Relay", *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Give the relay what comes, until cancelled."""
        path = self._team.packets_at(self._team.place)
        path.unlink(missing_ok=True)
        self._receiver.bind(str(path))
        task_status.started()
        while True:
            # One piece of work in each pass of the event loop, beside that of a client: as much as the clients of the
            # others send here together.
            await trio.lowlevel.wait_readable(self._receiver)
            done = 0
            with suppress(BlockingIOError):
                while done < _IN_A_ROW:
                    done += relay.take_passed(self._receiver.recv(MOST_PASSED))


def _new_socket() -> socket.socket:
    return socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
