"""Errands: what their process does and has, what goes wrong with it, and that it is gone afterwards."""

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from nodespan.runtime.process import errand as module
from nodespan.runtime.process import errand_runner
from nodespan.runtime.process.errand import ErrandAccidentError, ErrandError, errand
from nodespan.runtime.process.errand_runner import LARGEST, ErrandRefusedError, stamp
from nodespan.runtime.process.own_command import own_command
from tests.support.deadlines import PATIENCE

pytestmark = pytest.mark.process
ROOT = Path(__file__).parents[3]
HERE = "tests.runtime.process.errand_functions"
SECRET = b"a secret of the request"


async def test_a_process_answers_a_request_of_any_size() -> None:
    request = bytes(range(256)) * 4000
    assert await errand(f"{HERE}:echo", request, within=PATIENCE) == request[::-1]


async def test_the_request_is_nowhere_but_in_a_pipe_and_the_process_has_no_other_files() -> None:
    read, write = os.pipe()
    os.set_inheritable(write, True)  # noqa: FBT003  # it takes no name
    try:
        answer = await errand(f"{HERE}:surroundings", SECRET, within=PATIENCE)
    finally:
        os.close(read)
        os.close(write)
    # Its three standard files, the one for the answer, the one for nothing, and the directory that is read.
    core = "0" if resource.getrlimit(resource.RLIMIT_CORE)[1] == 0 else "1"
    assert answer.decode() == f"[] 6 {[core, core]}"


async def test_the_process_loads_little_beside_what_does_the_errand() -> None:
    loaded = set((await errand(f"{HERE}:modules", b"", within=PATIENCE)).decode().split())
    assert not loaded & {"trio", "attrs", "nodespan.runtime.process.errand"}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("fail", r"failed: ValueError in fail, line \d+$"),
        ("die", "ended without an answer: status -11$"),
        ("much", "the answer has more than"),
        ("nosuch", "failed: AttributeError"),
    ],
)
async def test_an_error_says_what_happened_and_nothing_of_the_request(name: str, words: str) -> None:
    with pytest.raises(ErrandError, match=words) as caught:
        await errand(f"{HERE}:{name}", SECRET, within=PATIENCE)
    assert "secret" not in str(caught.value)
    # Another process may do better only where this one was killed.
    assert isinstance(caught.value, ErrandAccidentError) is (name == "die")


async def test_what_the_function_refuses_is_told_in_its_words() -> None:
    with pytest.raises(ErrandRefusedError, match=r"^not today: really$"):
        await errand(f"{HERE}:refuse", b"really", within=PATIENCE)


async def test_what_cannot_be_started_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ErrandError, match=r"No module named 'tests\.nosuch': if this program was installed again"):
        await errand("tests.nosuch:x", b"", within=PATIENCE)
    with pytest.raises(ErrandError, match="the request has more than"):
        await errand(f"{HERE}:echo", bytes(LARGEST + 1))
    monkeypatch.setattr(sys, "executable", "/nosuch/python")
    with pytest.raises(ErrandAccidentError, match="cannot be started: No such file"):
        await errand(f"{HERE}:echo", b"", within=PATIENCE)


async def test_a_program_that_was_installed_again_does_no_errands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_STAMP", "of yesterday")
    with pytest.raises(ErrandError, match="installed again while it ran: restart it"):
        await errand(f"{HERE}:echo", b"", within=PATIENCE)


async def test_a_process_that_does_not_answer_in_time_is_killed(tmp_path: Path) -> None:
    with pytest.raises(ErrandError, match=r"did not answer within 0\.01 s"):
        await errand(f"{HERE}:wait", str(tmp_path / "pid").encode(), within=0.01)


async def test_cancelling_kills_the_process(tmp_path: Path) -> None:
    async def go() -> None:
        await errand(f"{HERE}:wait", str(tmp_path / "pid").encode(), within=PATIENCE)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(go)
        pid = await waiting(tmp_path / "pid")
        nursery.cancel_scope.cancel()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def waiting(file: Path) -> int:
    """The process that waits, once it has said so in its file."""
    found = trio.Path(file)
    with trio.fail_after(PATIENCE):
        while not await found.exists():  # noqa: ASYNC110  # a file has no event
            await trio.sleep(0.01)
        while not (text := await found.read_text()).endswith("\n"):  # noqa: ASYNC110
            await trio.sleep(0.01)
    return int(text)


async def test_the_process_would_end_by_itself_a_second_later() -> None:
    left = await errand(f"{HERE}:seconds_left", b"", within=PATIENCE)
    assert 0 < int(left) <= PATIENCE + 1


def test_a_process_whose_parent_is_gone_does_not_act_on_a_part_of_the_request(tmp_path: Path) -> None:
    file = str(tmp_path / "pid").encode()
    command = (*own_command("nodespan.runtime.process.errand_runner"), f"{HERE}:wait", stamp(), str(int(PATIENCE)))
    done = subprocess.run(command, input=(len(file) + 1).to_bytes(8, "big") + file, capture_output=True, cwd=ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"")
    assert not (tmp_path / "pid").exists()


def test_an_errand_is_done_where_no_limit_may_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    refused: list[tuple[int, int]] = []

    def refuse(_which: int, limits: tuple[int, int]) -> None:
        refused.append(limits)
        raise PermissionError(errno.EPERM, "not permitted")

    monkeypatch.setattr(resource, "setrlimit", refuse)
    errand_runner._leave_no_core()
    assert len(refused) == 1
