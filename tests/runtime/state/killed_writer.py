"""Writes to a state until it is killed, and reports what was acknowledged. For `tests.runtime.state.killing`.

It is a server for its test, so that imports are paid once: for each line on stdin, the URL of a state and its settings
(`NAME=VALUE`), it forks a writer and prints `started PID`. The writer prints `ID VERSION`, version 0 for a destruction,
as each write returns.
"""

import os
import random
import sys
from pathlib import Path

import structlog
import trio

from nodespan.runtime.resource import Phase
from nodespan.runtime.state import State
from nodespan.runtime.state.opening import StateOptions, open_state
from nodespan.runtime.testing.state_suite import Path as PathType
from nodespan.runtime.testing.state_suite import PathSpec

WRITERS = 4


def report(id: str, version: int | None) -> None:
    """One line, at once: what is written to a pipe survives the writer."""
    os.write(1, f"{id} {version}\n".encode())


async def write(state: State, number: int) -> None:
    """Create, update and destroy resources of its own, for ever."""
    choice = random.Random(number)
    while True:
        id = f"{number}-{choice.randrange(5)}"
        current = state.find(PathType, id)
        if current is None:
            report(id, (await state.create(PathType.new(id, PathSpec()))).metadata.version)
        elif choice.random() < 0.2:
            await state.destroy(PathType, id)
            report(id, 0)
        else:
            changed = current.with_labels({"of": f"version {current.metadata.version}"}).evolve(phase=Phase.RUNNING)
            report(id, (await state.update(changed)).metadata.version)


async def main(url: str, *settings: str) -> None:
    """All writers at once."""
    given = dict(setting.split("=", 1) for setting in settings)
    options = StateOptions(state_dir=Path("/"), types=(PathType,), settings=given)
    async with open_state(url, options) as state, trio.open_nursery() as nursery:
        for number in range(WRITERS):
            nursery.start_soon(write, state, number)


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    for line in sys.stdin:
        if pid := os.fork():
            os.write(1, f"started {pid}\n".encode())
            os.waitpid(pid, 0)
            os.write(1, b"ended\n")
        else:
            trio.run(main, *line.split())
