"""Output that cannot be written is one clear error and a status, for every verb; never a traceback."""

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import pytest

from nodespan.runtime.cli import streams
from nodespan.runtime.cli.command import run
from nodespan.runtime.process import logs
from tests.support.agent import COMMAND, agent, environment
from tests.support.deadlines import PATIENCE

VERBS = [
    ["--help"],
    ["help"],
    ["help", "get"],
    ["--version"],
    ["version", "--client"],
    ["completion", "bash"],
    ["graph"],
    ["gen", "key"],
    ["gen", "config", "--cluster-name", "home", "--output-dir", "DIRECTORY"],
    ["validate", "DIRECTORY/good.yaml"],
]


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    (tmp_path / "good.yaml").write_text("machine:\n  type: worker\n")
    return tmp_path


def run_in(directory: Path, arguments: list[str]) -> int:
    return run([word.replace("DIRECTORY", str(directory)) for word in arguments])


@pytest.mark.parametrize("arguments", VERBS, ids=" ".join)
def test_a_full_disk_is_reported(
    directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        status = run_in(directory, arguments)
        monkeypatch.undo()
    assert (status, capsys.readouterr().err) == (1, "nodespan: cannot write the output: No space left on device\n")


@pytest.mark.parametrize("arguments", VERBS, ids=" ".join)
def test_a_closed_output_is_reported(
    directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    status = run_in(directory, arguments)
    monkeypatch.undo()
    assert (status, capsys.readouterr().err) == (1, "nodespan: cannot write the output: Bad file descriptor\n")


@pytest.mark.parametrize("arguments", [["validate", "-"], ["gen", "key", "--public"], ["apply", "-"]], ids=" ".join)
def test_a_closed_input_is_an_error(
    directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert run_in(directory, arguments) == 1
    assert "Bad file descriptor" in capsys.readouterr().err


@contextlib.contextmanager
def full_device() -> Iterator[TextIO]:
    """A file that takes nothing, and is closed without a complaint."""
    with open("/dev/full", "w") as full:
        yield full
        streams.discard(full)


def test_without_a_place_for_errors_the_status_tells(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with full_device() as full:
        for stream in (None, full):
            monkeypatch.setattr(sys, "stderr", stream)
            assert run_in(directory, ["get", "links"]) == 1
            assert run_in(directory, ["nosuch"]) == 2
        monkeypatch.undo()


async def test_processes_without_output_end_with_one_error(tmp_path: Path) -> None:
    async with agent(tmp_path):
        for verb in ("get links", "get links -o yaml", "why links lo", "version"):
            for redirection, reason in ((">/dev/full", "No space left on device"), (">&-", "Bad file descriptor")):
                done = shell(f'"$0" "$@" {verb} {redirection}', tmp_path)
                assert (done.returncode, done.stderr) == (1, f"nodespan: cannot write the output: {reason}\n"), verb


@contextlib.contextmanager
def unbuffered_pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Standard output as with PYTHONUNBUFFERED, a pipe that does not block; the end to read."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with (
        open(reader, "rb", buffering=0),
        open(writer, "wb", buffering=0) as raw,
        io.TextIOWrapper(raw, encoding="utf-8", write_through=True) as output,
    ):
        monkeypatch.setattr(sys, "stdout", output)
        yield reader
        monkeypatch.undo()


def test_an_output_without_a_buffer_is_written_whole_or_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with unbuffered_pipe(monkeypatch) as reader:
        streams.prepare()
        sys.stdout.write("one\u2713\n")
        assert os.read(reader, 100).decode() == "one\u2713\n"  # without a flush: who watches sees each line
        with pytest.raises(BlockingIOError) as raised:
            sys.stdout.write("a line\n" * 1_000_000)
        assert streams.give_up(raised.value) == 1
    assert capsys.readouterr().err == "nodespan: cannot write the output: write could not complete without blocking\n"


@pytest.mark.process
def test_a_process_without_a_buffer_reports_what_was_not_written(tmp_path: Path) -> None:
    limited = f'ulimit -f 4; PYTHONUNBUFFERED=1 exec "$0" "$@" graph >{tmp_path}/graph'
    done = shell(limited, tmp_path)
    assert (done.returncode, done.stderr) == (1, "nodespan: cannot write the output: File too large\n")
    assert (tmp_path / "graph").stat().st_size > 0


def shell(script: str, directory: Path) -> Any:
    return subprocess.run(
        ("sh", "-c", script, *COMMAND), env=environment(directory), capture_output=True, text=True, timeout=PATIENCE
    )


def test_a_log_that_cannot_be_written_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with full_device() as full:
        monkeypatch.setattr(sys, "stderr", full)
        logs.plain_logger().warning("lost")
        monkeypatch.undo()
