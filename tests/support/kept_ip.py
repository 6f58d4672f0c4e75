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
        links, answer = self._answers("link show", question)
        # `ip` never forgets the name of a link, not even when it reads another one.
        if any(self._names.setdefault(link["ifindex"], link["ifname"]) != link["ifname"] for link in json.loads(links)):
            self.close()
            self._begin()
            _, answer = self._answers("link show", question)
        return answer

    def _answers(self, *questions: str) -> list[str]:
        """What these print: each one line, even where there is nothing to show."""
        command = f"ip {'; ip '.join(questions)}"
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("".join(f"{question}\n" for question in questions).encode())
        output, deadline = b"", time.monotonic() + PATIENCE
        while output.count(b"\n") < len(questions):
            if not select.select([self._process.stdout], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise subprocess.TimeoutExpired(command, PATIENCE, output)
            more = os.read(self._process.stdout.fileno(), 1 << 16)
            if not more:
                _, errors = self._process.communicate()
                raise AssertionError(f"{command}: exit {self._process.returncode}: {errors.decode().strip()}")
            output += more
        return output.decode().split("\n")[:-1]

    def close(self) -> None:
        """End it."""
        self._process.kill()
        with self._process:
            pass
