"""The house rules of tests/conftest.py and tests/support, tried on pytest itself in a process of its own."""

import itertools
import re
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import TIERS, starts_processes
from tests.mesh.conftest import LONGEST
from tests.support import run
from tests.support.nested import PROJECT, run_pytest
from tests.support.process import ending, eventually, running
from tests.support.progress import unfinished
from tests.support.tally import tally


async def test_an_async_test_runs_on_trio() -> None:
    assert trio.lowlevel.in_trio_run()


@pytest.mark.parametrize("value", [1, 2])
async def test_an_async_test_takes_parameters_and_fixtures(value: int, tmp_path: Path) -> None:
    await trio.Path(tmp_path / "file").write_text(str(value))
    assert (tmp_path / "file").read_text() == str(value)


@given(st.integers())
async def test_every_example_of_a_property_runs_on_trio(number: int) -> None:
    await trio.lowlevel.checkpoint()
    assert number == int(str(number))


@pytest.mark.virtual_clock
async def test_a_day_of_virtual_time_takes_no_time() -> None:
    start = trio.current_time()
    await trio.sleep(86400)
    assert trio.current_time() - start == 86400


def test_a_test_that_fails_or_waits_forever_fails(tmp_path: Path) -> None:
    outcome = run_pytest(
        tmp_path,
        """
import pytest, trio

async def test_wrong():
    assert 1 == 2

async def test_waiting():
    await trio.sleep_forever()

@pytest.mark.virtual_clock
async def test_waiting_in_virtual_time():
    await trio.sleep_forever()
""",
        settings="TEST_DEADLINE = 0.01",
    )
    assert outcome.code == pytest.ExitCode.TESTS_FAILED
    assert "assert 1 == 2" in outcome.output
    assert len(re.findall(r"^E +trio.TooSlowError$", outcome.output, re.MULTILINE)) == 2


async def test_a_daemon_lives_as_long_as_its_block(tmp_path: Path) -> None:
    started = tmp_path / "started"
    async with running("sh", "-c", f"touch {started}; exec sleep 1000") as daemon:
        await eventually(started.exists)
        assert daemon.returncode is None
    assert daemon.returncode is not None


async def ignoring_sigterm(directory: Path) -> trio.Process:
    started = directory / "started"
    process = await trio.lowlevel.open_process(["sh", "-c", f"trap '' TERM; touch {started}; exec sleep 1000"])
    await eventually(started.exists)
    return process


_COMPLAINT = "did not end on SIGTERM"


async def test_a_daemon_that_ignores_sigterm_fails_its_test_and_is_killed(tmp_path: Path) -> None:
    daemon = await ignoring_sigterm(tmp_path)
    with pytest.raises(AssertionError, match=_COMPLAINT):
        async with ending(daemon, patience=0.01):
            pass
    assert daemon.returncode == -signal.SIGKILL


async def test_a_daemon_that_ignores_sigterm_fails_a_test_that_ends_its_work_by_cancelling_it(tmp_path: Path) -> None:
    daemon = await ignoring_sigterm(tmp_path)

    async def work() -> None:
        with trio.CancelScope() as scope:
            async with ending(daemon, patience=0.01), trio.open_nursery() as nursery:
                for _ in range(2):
                    nursery.start_soon(trio.sleep_forever)
                scope.cancel()

    with pytest.raises(AssertionError, match=_COMPLAINT):
        await work()
    assert daemon.returncode == -signal.SIGKILL


async def test_a_test_that_fails_anyway_fails_by_its_own_error_with_a_note_of_the_daemon(tmp_path: Path) -> None:
    daemon = await ignoring_sigterm(tmp_path)
    with pytest.raises(ValueError, match="its own") as caught:
        async with ending(daemon, patience=0.01):
            raise ValueError("its own")
    assert [_COMPLAINT in note for note in caught.value.__notes__] == [True]


async def test_a_daemon_that_its_test_kills_may_ignore_sigterm(tmp_path: Path) -> None:
    daemon = await ignoring_sigterm(tmp_path)
    async with ending(daemon):
        daemon.kill()


@pytest.mark.parametrize("missing", [KeyError("master"), IndexError(), ValueError("not enough values to unpack")])
async def test_eventually_waits_for_what_a_check_does_not_find_yet(missing: Exception) -> None:
    found: Iterator[Exception | None] = iter((missing, None))

    def check() -> bool:
        if (error := next(found)) is not None:
            raise error
        return True

    assert await eventually(check)
    found = itertools.repeat(missing)
    with pytest.raises(type(missing)):
        await eventually(check, within=0.02)


async def test_eventually_ends_with_the_last_complaint() -> None:
    def check() -> None:
        raise AssertionError("not yet")

    with pytest.raises(AssertionError, match="not yet"):
        await eventually(check, within=0.02)


def test_a_run_that_leaves_something_behind_fails(tmp_path: Path) -> None:
    outcome = run_pytest(
        tmp_path,
        """
import subprocess, tempfile

kept = []

def test_process():
    kept.append(subprocess.Popen(["sleep", "1001"]))

def test_daemon_that_left_its_parent():
    subprocess.run("sleep 1002 >/dev/null 2>&1 &", shell=True)

def test_file():
    tempfile.mkstemp(suffix="-lost")
""",
    )
    assert outcome.code == pytest.ExitCode.TESTS_FAILED
    assert "3 passed, 1 error" in outcome.output
    for lost in ("sleep 1001", "sleep 1002", "-lost"):
        assert lost in outcome.output


# A run with a daemon in a session of its own and with a file, killed.
KILLED_RUN = """
import os, signal, subprocess, tempfile
from tests.support import run

directory = run.begin()
daemon = subprocess.Popen(["sleep", "1003"], start_new_session=True)
file = tempfile.mkstemp()[1]
print(daemon.pid, run._guards[0].pid, directory, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


# The same, killed while it removes what it left.
KILLED_AT_ITS_END = KILLED_RUN.replace(
    "os.kill(os.getpid(), signal.SIGKILL)",
    "run._namespaces = lambda: os.kill(os.getpid(), signal.SIGKILL)\nrun.leftovers(directory)",
)


# The table of all pairs of networks, which is no test run, and is ended by what `make` and systems end programs with.
ENDED_MATRIX = """
import os, signal, subprocess, tempfile
from tests.mesh import reachability
from tests.support import run

async def table(words, **options):
    daemon = subprocess.Popen(["sleep", "1003"], start_new_session=True)
    file = tempfile.mkstemp()[1]
    print(daemon.pid, run._guards[0].pid, os.environ["TMPDIR"], flush=True)
    os.kill(os.getpid(), signal.SIGTERM)

reachability._table = table
reachability.main()
"""


@pytest.mark.parametrize(
    ("program", "by"),
    [(KILLED_RUN, signal.SIGKILL), (KILLED_AT_ITS_END, signal.SIGKILL), (ENDED_MATRIX, signal.SIGTERM)],
    ids=["before its end", "while it removes", "the matrix of networks"],
)
async def test_what_a_killed_run_leaves_behind_is_removed(program: str, by: signal.Signals) -> None:
    done = await trio.run_process([sys.executable, "-c", program], cwd=PROJECT, capture_stdout=True, check=False)
    assert done.returncode == -by
    daemon, guard, directory = done.stdout.decode().split()

    # A process has ended without `exe`, also where nobody waits for it. The guard ends last, and is none of this run's
    # leftovers only then.
    await eventually(
        lambda: not any(map(Path.exists, (Path(directory), Path(f"/proc/{daemon}/exe"), Path(f"/proc/{guard}/exe"))))
    )


def test_a_process_that_executes_a_program_is_known_once_it_shows_its_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = f"{run.VARIABLE}={run.NAME}".encode()
    (tmp_path / "stat").write_text(f"7 (sleep) R 1 {' '.join(['9' * 15] * 30)}")
    (tmp_path / "statm").write_text("34 0 0 0 0 34 0")
    (tmp_path / "environ").touch()
    (tmp_path / "cmdline").touch()
    steps: list[Callable[[], object]] = [
        lambda: (tmp_path / "cmdline").write_bytes(b"sleep\0"),
        lambda: (tmp_path / "environ").write_bytes(marker + b"\0A=b\0"),
    ]
    monkeypatch.setattr("time.sleep", lambda _: steps.pop(0)())
    assert run.command_if_ours(tmp_path) == "sleep"
    assert steps == []


def test_a_run_that_is_cut_off_names_the_tests_that_did_not_finish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    progress = tmp_path / "progress"
    assert unfinished(progress) == ["all: the run did not come to collecting them"]
    monkeypatch.setenv("NODESPAN_TEST_PROGRESS", str(progress))
    outcome = run_pytest(
        tmp_path,
        """
import pytest

def test_first():
    pass

def test_cut_off():
    pytest.exit("cut off", returncode=1)

def test_never_reached():
    pass
""",
    )
    assert outcome.code == 1
    assert [name.rpartition("::")[2] for name in unfinished(progress)] == ["test_cut_off", "test_never_reached"]


# A number of seconds in a wait for a process or the kernel. What a wait of the product is given is its own matter.
OWN_DEADLINE = re.compile(r"(?:\beventually\([^\n]*, within=|\bfail_after\(|\bsubprocess\.run\([^\n]*, timeout=)[0-9]")


def test_waits_for_processes_and_the_kernel_have_the_common_deadline() -> None:
    here = Path(__file__)
    found = [
        f"{path.relative_to(here.parent)}:{number}: {line.strip()}"
        for path in sorted(here.parent.rglob("*.py"))
        if path != here and (path.parent.name in TIERS or starts_processes(path))
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if OWN_DEADLINE.search(line)
    ]
    assert found == [], "give them the deadline of tests.support.deadlines, or none"


def test_the_files_of_the_mesh_tier_that_come_first_are_there() -> None:
    here = Path(__file__).parent / "mesh"
    assert [name for name in LONGEST if not (here / f"{name}.py").exists()] == []


def test_modules_that_start_processes_are_recognized_by_their_source() -> None:
    here = Path(__file__).parent
    assert starts_processes(here / "runtime/cli/test_get.py")
    assert starts_processes(here / "runtime/api/grpc/test_server.py")
    assert not starts_processes(here / "cluster/test_plan.py")


def test_a_tally_adds_up_the_tiers_and_misses_none(tmp_path: Path) -> None:
    unit = tmp_path / "unit.xml"
    unit.write_text('<testsuites><testsuite tests="9" failures="2" errors="1" skipped="1" time="1.5"/></testsuites>')
    counts, seconds, complaints = tally([unit, tmp_path / "mesh.xml"])
    assert counts == {"failed": 2, "passed": 5, "skipped": 1, "errors": 1}
    assert seconds == 1.5
    assert complaints == ["the mesh tier ran no test", "not finished: all: the run did not come to collecting them"]
    (tmp_path / "mesh.progress").write_text("collected a\ncollected b\nfinished a\n")
    assert tally([tmp_path / "mesh.xml"])[2] == ["the mesh tier ran no test", "not finished: b"]
