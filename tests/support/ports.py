"""Ports of this machine that stay free until a test uses them, or that nobody listens at.

A port that the kernel gave, and that was closed again for a program that is told to listen there, may meanwhile be
given to another: every connection takes one. So these are ports that the kernel never gives by itself, and each test
run has a block of them to itself, which it claims by an abstract socket that ends with its process. Where the kernel
gives all ports, as some machines have it configured, they are some that it gave.
"""

import contextlib
import itertools
import os
import socket
from collections.abc import Iterator
from pathlib import Path

GIVEN = Path("/proc/sys/net/ipv4/ip_local_port_range")
# Below are those of services that the machine may have.
FIRST, LAST = 10_000, 65_535
SIZE = 100
# Those of the relays of tests, at which nothing listens until they give them to clients.
OF_RELAYS = range(24_000, 24_400)


def free_ports(count: int, address: str = "127.0.0.1") -> tuple[int, ...]:
    """Ports of an address that nobody listens at, and that nobody else is given before this process ends."""
    found = tuple(itertools.islice((port for port in _next_ports() if _is_free(address, port)), count))
    assert len(found) == count, f"of the ports of this run, {count} are not free at {address}"
    return found


def free_port(address: str = "127.0.0.1") -> int:
    """One of them."""
    return free_ports(1, address)[0]


def blocks(given: str) -> list[range]:
    """The blocks of ports beside those of relays and those that the kernel gives, which it has written like this."""
    lowest, highest = (int(word) for word in given.split())
    return [
        range(start, start + SIZE)
        for start in range(FIRST, LAST + 2 - SIZE, SIZE)
        if (start + SIZE <= lowest or start > highest) and start not in OF_RELAYS
    ]


def claimed(choice: list[range]) -> range:
    """The first block that no other process has, which this one has from now on."""
    # Not all from the same end: programs of the machine listen at low ones rather.
    first = os.getpid() % len(choice)
    for block in (*choice[first:], *choice[:first]):
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0nodespan-test-ports-{block.start}")
        except OSError:
            claim.close()
            continue
        # As long as the process: nothing closes it.
        claim.detach()
        return block
    raise AssertionError("all blocks of ports are claimed by other test runs")


# Where the next search begins, so that a port is used again as late as possible.
_cycles: dict[int, Iterator[int]] = {}


def _next_ports() -> Iterator[int]:
    """Every port of this process's block, once."""
    # By process: a copy of this one has to claim its own.
    if (me := os.getpid()) not in _cycles:
        choice = blocks(GIVEN.read_text())
        _cycles[me] = itertools.cycle(claimed(choice)) if choice else _given()
    return itertools.islice(_cycles[me], SIZE)


def _given() -> Iterator[int]:
    """Ports that the kernel gives, each once."""
    known: set[int] = set()
    while True:
        with contextlib.closing(socket.socket()) as asking:
            asking.bind(("", 0))
            port = int(asking.getsockname()[1])
        if port not in known:
            known.add(port)
            yield port


def _is_free(address: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with contextlib.closing(socket.socket(family, kind)) as tried:
            if kind == socket.SOCK_STREAM:
                tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tried.bind((address, port))
            except OSError:
                return False
    return True
