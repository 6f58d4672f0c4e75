"""Kills a process in the middle of its writes, and checks what it left. For tests of states that last."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from nodespan.runtime.state import State
from nodespan.runtime.testing.state_suite import Path

Server = subprocess.Popen[str]
# Reported versions of each resource; 0 once it was destroyed.
Acknowledged = dict[str, int]


@contextmanager
def writers() -> Iterator[Server]:
    """The server that starts writers: `tests.runtime.state.killed_writer`."""
    command = [sys.executable, "-m", "tests.runtime.state.killed_writer"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


def write_until_killed(server: Server, target: str, after: int) -> Acknowledged:
    """Let a process write to a state, and kill it right after so many reports."""
    assert server.stdin is not None
    assert server.stdout is not None
    print(target, file=server.stdin, flush=True)
    acknowledged: Acknowledged = {}
    reports, pid = 0, 0
    for line in server.stdout:
        if line == "ended\n":
            return acknowledged
        first, second = line.split()
        if first == "started":
            pid = int(second)
            continue
        acknowledged[first] = int(second)
        reports += 1
        if reports == after:
            os.kill(pid, signal.SIGKILL)
    raise AssertionError("the server ended")


def check(state: State, known: Acknowledged) -> None:
    """Everything acknowledged is there, or what one more write made of it; and everything is whole.

    Afterwards `known` is what is there.
    """
    found = {resource.id: resource for resource in state.list(Path)}
    for id in known.keys() | found.keys():
        least = known.get(id, 0)
        resource = found.get(id)
        if resource is None:
            continue  # destroyed: acknowledged, or the write under way, checked below
        version = resource.metadata.version
        assert version is not None
        # At most one write of a resource was under way.
        assert version in (least, least + 1), (id, least, version)
        if version > 1:
            assert resource.metadata.labels == {"of": f"version {version - 1}"}
    missing = [id for id, version in known.items() if version and id not in found]
    # A writer has one write under way, which may have been the destruction.
    assert len({id.partition("-")[0] for id in missing}) == len(missing), missing
    known.clear()
    known.update({id: resource.metadata.version or 0 for id, resource in found.items()})
