"""A signal may come at any moment, also in the middle of starting a process."""

import signal
import subprocess
from typing import Any

import pytest

from nodespan.cluster import station_processes
from nodespan.cluster.interruption import interruptible, undivided

pytestmark = pytest.mark.process


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list["subprocess.Popen[Any]"]:
    """The processes that were started, each with a signal just before its starter knows of it."""
    made: list[subprocess.Popen[Any]] = []

    class Interrupted(subprocess.Popen[Any]):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            made.append(self)
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    return made


def test_a_command_has_ended_although_it_was_interrupted_as_it_was_started(
    started: list["subprocess.Popen[Any]"],
) -> None:
    with pytest.raises(KeyboardInterrupt), interruptible():
        station_processes.run(("sleep", "1000"))
    (process,) = started
    assert process.returncode == -signal.SIGKILL


def test_the_signal_comes_at_the_end_of_the_outermost_block_and_once() -> None:
    reached: list[str] = []

    def work() -> None:
        with interruptible(), undivided():
            with undivided():
                signal.raise_signal(signal.SIGTERM)
                signal.raise_signal(signal.SIGINT)
                reached.append("inner")
            reached.append("outer")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert reached == ["inner", "outer"]
    with interruptible(), undivided():
        reached.append("again")
    assert reached[-1] == "again"
