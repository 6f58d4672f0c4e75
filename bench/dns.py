"""The node's own DNS server: an answer for a member, against a bare UDP echo in Python."""

import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import trio

from bench.measure import Figure
from nodespan.controllers.dns.answering import Answering
from nodespan.controllers.dns.listening import Listener, ListenError, Place, bind
from nodespan.controllers.dns.metrics import Counts
from nodespan.controllers.dns.names import Names
from nodespan.controllers.dns.upstreams import Upstreams
from nodespan.resources.cluster import MemberNameSpec

HOST = "127.0.0.1"
QUESTIONS = 2000
ROUNDS = 7
MEMBERS = 1000
_LETTERS = "meshinternal"


def member() -> Figure:
    """The median round trip of a question for one of 1,000 members, each side in a process of its own.

    No question is asked twice in the same letters, so that no answer is one that was prepared.
    """
    with _process("serve") as ours, _process("echo") as baseline:
        pairs = [(_median(ours, first), _median(baseline, first)) for first in range(0, ROUNDS * QUESTIONS, QUESTIONS)]
    return Figure(
        "DNS, an answer for a member (p50) against a bare UDP echo",
        min(first for first, _ in pairs),
        min(second for _, second in pairs),
        6,
    )


def _question(number: int) -> bytes:
    letters = "".join(letter.upper() if number >> place & 1 else letter for place, letter in enumerate(_LETTERS))
    name = _written(
        f"{'Node' if number >> len(_LETTERS) & 1 else 'node'}-{number % MEMBERS}.{letters[:4]}.{letters[4:]}"
    )
    return number.to_bytes(2) + b"\x01\0\0\x01\0\0\0\0\0\0" + name + b"\0\x01\0\x01"


def _written(name: str) -> bytes:
    return b"".join(bytes((len(label),)) + label.encode() for label in name.split(".")) + b"\0"


def _median(port: int, first: int) -> float:
    """Microseconds."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        opened.connect((HOST, port))
        opened.settimeout(5)
        times: list[float] = []
        for message in [_question(first + number) for number in range(QUESTIONS)]:
            started = time.perf_counter()
            opened.send(message)
            answer = opened.recv(4096)
            times.append(time.perf_counter() - started)
            assert answer[:2] == message[:2]
    return statistics.median(times) * 1e6


@contextmanager
def _process(role: str) -> Iterator[int]:
    command = [sys.executable, "-m", "bench.dns", role]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


FIGURES = (member,)


# The other processes.


async def _serve() -> None:
    names = Names("mesh.internal")
    for number in range(MEMBERS):
        address = f"10.0.{number // 250}.{number % 250 + 1}"
        names.set_member(f"node-{number}.mesh.internal", MemberNameSpec(addresses=(address,), ttl=5))
    counts = Counts()
    answering = Answering(names, Upstreams(counts, lambda _server: None), counts)
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind((HOST, 0))
            port = free.getsockname()[1]
        place = Place.parse(f"{HOST}:{port}", None)
        try:
            sockets = bind(place)
        except ListenError:
            continue  # another program has it for TCP
        break
    print(port, flush=True)
    await Listener(place, sockets, answering, counts).run()


def _echo() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        opened.bind((HOST, 0))
        print(opened.getsockname()[1], flush=True)
        while True:
            data, source = opened.recvfrom(4096)
            opened.sendto(data, source)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        trio.run(_serve)
    else:
        _echo()
