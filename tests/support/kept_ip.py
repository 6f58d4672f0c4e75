"""An `ip` that runs for many questions: under User Mode Linux each start of a program costs as much as 50 answers."""

import json
import os
import select
import subprocess
import time
from collections.abc import Callable

from tests.support.deadlines import PATIENCE


class KeptIp:
    """`start` starts an `ip -json -batch -` with pipes, where its answers are to be of."""

    def __init__(self, start: Callable[[], subprocess.Popen[bytes]]) -> None:
        self._start = start
        self._begin()

    def _begin(self) -> None:
        self._process = self._start()
        self._names: dict[int, str] = {}

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, question: str) -> str:
        """The JSON that one command prints. Blocks.

        Raises AssertionError with the words of `ip` if it fails, TimeoutExpired after `PATIENCE`; it has no use then.
        """
        names = self._links()
        # `ip` never forgets the name of a link, not even when it reads another one, or the link is gone.
        if not self._names.items() <= names.items():
            self.close()
            self._begin()
            names = self._links()
        self._names = names
        return self._answer(question)

    def _links(self) -> dict[int, str]:
        """The names of all links by their indexes, as the kernel has them now."""
        return {link["ifindex"]: link["ifname"] for link in json.loads(self._answer("link show"))}

    def _answer(self, question: str) -> str:
        """What it prints: one line, even where there is nothing to show."""
        command = f"ip {question}"
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{question}\n".encode())
        output, deadline = b"", time.monotonic() + PATIENCE
        while not output.endswith(b"\n"):
            if not select.select([self._process.stdout], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise subprocess.TimeoutExpired(command, PATIENCE, output)
            more = os.read(self._process.stdout.fileno(), 1 << 16)
            if not more:
                _, errors = self._process.communicate()
                raise AssertionError(f"{command}: exit {self._process.returncode}: {errors.decode().strip()}")
            output += more
        return output.decode()

    def close(self) -> None:
        """End it."""
        self._process.kill()
        with self._process:
            pass
