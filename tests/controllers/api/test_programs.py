"""Programs whose output is the answer to a call: they end with it."""

import os
import subprocess
from pathlib import Path

import pytest
import trio

from nodespan.controllers.api.programs import pass_output
from tests.support.deadlines import PATIENCE

pytestmark = pytest.mark.process


async def test_the_output_is_given_as_it_comes_and_the_status_at_the_end() -> None:
    said = b""

    async def take(chunk: bytes) -> None:
        nonlocal said
        said += chunk

    assert await pass_output(["sh", "-c", "echo one; echo two >&2; exit 3"], take, with_errors=True) == 3
    assert said == b"one\ntwo\n"


async def test_a_program_ends_with_who_waits_for_it() -> None:
    begun: list[int] = []

    async def take(chunk: bytes) -> None:
        begun.append(int(chunk))
        raise ValueError("enough")

    with pytest.raises(ValueError, match="enough"):
        await pass_output(["sh", "-c", "echo $$; exec sleep 1000"], take)
    with pytest.raises(ProcessLookupError):
        os.kill(begun[0], 0)

    scope = trio.CancelScope()

    async def cancel(chunk: bytes) -> None:
        begun.append(int(chunk))
        scope.cancel()

    with scope:
        await pass_output(["sh", "-c", "echo $$; exec sleep 1000"], cancel)
    with pytest.raises(ProcessLookupError):
        os.kill(begun[1], 0)


async def test_one_that_cannot_be_started_is_an_error() -> None:
    async def take(_chunk: bytes) -> None:
        raise AssertionError

    with pytest.raises(FileNotFoundError):
        await pass_output(["/nosuch"], take)


def test_what_follows_a_file_ends_when_its_reader_is_killed(tmp_path: Path) -> None:
    file = tmp_path / "agent.log"
    file.write_text("line\n")
    # As `log_file_of` has it shown; nothing is written any more.
    with subprocess.Popen(["tail", "-n", "1", "-F", "--", file], stdout=subprocess.PIPE) as reader:
        try:
            assert reader.stdout is not None
            assert reader.stdout.readline() == b"line\n"
            reader.stdout.close()
            reader.wait(PATIENCE)
        finally:
            reader.kill()
