"""Copies of a process that has imported `nodespan` are processes as if they had been executed."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support import forked
from tests.support.agent import COMMAND, agent, environment, nodespan
from tests.support.deadlines import PATIENCE


def test_a_copy_prints_what_an_executed_command_prints(tmp_path: Path) -> None:
    for arguments in (("version", "--client"), ("get", "links"), ("nosuch",), ("validate", "nosuch.yaml")):
        variables = environment(tmp_path)
        executed = subprocess.run(
            (*COMMAND, *arguments), env=variables, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE
        )
        copied = forked.run(*arguments, directory=tmp_path, environment=variables, stdin=None, timeout=PATIENCE)
        assert (copied.returncode, copied.stdout, copied.stderr) == (
            executed.returncode,
            executed.stdout,
            executed.stderr,
        )


def test_a_copy_finds_modules_where_its_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "found_here.py").write_text("raise SystemExit('found')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    done = nodespan("graph", "--controllers", "found_here:One", directory=tmp_path)
    assert "cannot import found_here: SystemExit: found" in done.stderr


def test_a_process_that_would_begin_otherwise_is_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert forked.can_begin(environment(tmp_path))
    monkeypatch.setenv("PYTHONOPTIMIZE", "2")
    assert not forked.can_begin(environment(tmp_path))
    assert nodespan("version", "--client", directory=tmp_path).returncode == 0


async def test_a_copy_that_is_killed_is_seen_to_be(tmp_path: Path) -> None:
    async with agent(tmp_path) as served:
        assert served.process.returncode is None
        os.kill(served.pid, signal.SIGKILL)
        assert await served.process.wait() == served.process.returncode == -signal.SIGKILL
        served.process.kill()
