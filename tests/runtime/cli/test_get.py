"""`nodespan get` against real agents: through their restarts, through pipes, and to the exit status."""

import json
import os
import signal
import subprocess
from pathlib import Path

import attrs
import pytest
import trio

from tests.support.agent import COMMAND, agent, environment, nodespan
from tests.support.process import eventually, running

THINGS = ("--controllers", "tests.runtime.cli.fixtures:ThingController")


@attrs.frozen
class Things:
    """The file that says which things there are."""

    path: Path

    def are(self, **things: str) -> None:
        self.path.write_text(json.dumps(things))


@pytest.fixture
def things(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Things:
    found = Things(tmp_path / "things.json")
    found.are(a="one", b="two")
    monkeypatch.setenv("NODESPAN_TEST_THINGS", str(found.path))
    # Where the agent finds their controller.
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    return found


def rows(text: str) -> list[list[str]]:
    return [line.split()[1:] for line in text.splitlines()]


def destroyed(text: str) -> list[list[str]]:
    """The lines about what went; a machine's name may hold a dash too."""
    return [row for row in rows(text) if row[0] == "-"]


class Watching:
    """A `get -w` and what it has printed so far."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        self._out, self._error = directory / "watch.out", directory / "watch.err"
        with self._out.open("w") as out, self._error.open("w") as error:
            self.process = subprocess.Popen(
                (*COMMAND, "get", *arguments, "-w"), env=environment(directory), stdout=out, stderr=error
            )

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def said(self) -> str:
        return self._error.read_text()

    def __enter__(self) -> "Watching":
        return self

    def __exit__(self, *exc: object) -> None:
        self.process.kill()
        self.process.wait()


async def test_a_watch_shows_exactly_what_differs_after_a_restart(things: Things, tmp_path: Path) -> None:
    with Watching(tmp_path, "things") as too_early:
        assert await trio.to_thread.run_sync(too_early.process.wait) == 1
        assert "no agent answers at" in too_early.said
    async with agent(tmp_path, *THINGS) as first:
        watching = Watching(tmp_path, "things")
        await eventually(lambda: "two" in watching.out)
        os.kill(first.pid, signal.SIGKILL)
    with watching:
        await eventually(lambda: "the agent went away, waiting for it to come back" in watching.said)
        things.are(a="one", b="zwei", c="three")
        async with agent(tmp_path, *THINGS):
            await eventually(lambda: "three" in watching.out)
            things.are(b="zwei", c="three")
        async with agent(tmp_path, *THINGS) as third:
            await eventually(lambda: destroyed(watching.out))
            os.kill(third.pid, signal.SIGHUP)
            things.are(c="three")
            os.kill(third.pid, signal.SIGHUP)
            await eventually(lambda: len(destroyed(watching.out)) == 2)
        assert rows(watching.out) == [
            ["*", "NAMESPACE", "TYPE", "ID", "VERSION", "TEXT"],
            ["+", "test", "Thing", "a", "1", "one"],
            ["+", "test", "Thing", "b", "1", "two"],
            ["test", "Thing", "b", "1", "zwei"],
            ["+", "test", "Thing", "c", "1", "three"],
            ["-", "test", "Thing", "a", "1", "one"],
            ["-", "test", "Thing", "b", "1", "zwei"],
        ]
        watching.process.send_signal(signal.SIGINT)
        assert await trio.to_thread.run_sync(watching.process.wait) == 130
        assert watching.said.count("the agent is back") == 2
        assert "Traceback" not in watching.said


async def test_the_first_question_is_answered_in_full(things: Things, tmp_path: Path) -> None:
    async with running(*COMMAND, "agent", *THINGS, environment=environment(tmp_path)):
        await eventually((tmp_path / "agent.sock").exists)
        done = nodespan("get", "things", "-o", "jsonpath={.metadata.id}", directory=tmp_path)
        assert (done.stdout, done.stderr) == ("a\nb\n", "")


STATUSES = [
    (("get", "things"), 0, ""),
    (("get", "things", "a"), 0, ""),
    (("get", "a", "--help"), 0, ""),
    (("get", "things", "nosuch"), 1, "resource Things.test.dev(test/nosuch) doesn't exist"),
    (("get", "nosuch"), 1, "no such type is registered: 'nosuch'"),
    (("get", "things", "-n", "nosuch"), 1, "no such namespace is registered"),
    (("get", "things", "-o", "xml"), 1, "unknown output 'xml'"),
    (("get", "things", "-o", "jsonpath={.spec.nosuch}"), 1, "key 'nosuch' is not found"),
    (("get", "things", "-l", "(("), 1, "selector '((' cannot be read"),
    (("get",), 2, "TYPE"),
    (("get", "things", "a", "b"), 2, "unrecognized arguments: b"),
    (("nosuch",), 2, "unknown command 'nosuch'"),
    ((), 2, "COMMAND"),
]


async def test_the_exit_status_and_the_words_on_stderr_say_what_went_wrong(things: Things, tmp_path: Path) -> None:
    async with agent(tmp_path, *THINGS):
        for arguments, status, words in STATUSES:
            done = nodespan(*arguments, directory=tmp_path)
            assert (done.returncode, words in done.stderr) == (status, True), (arguments, done.stderr)
            assert "Traceback" not in done.stderr
            assert bool(done.stderr) is (status != 0)


@pytest.mark.parametrize("output", ["jsonpath={.a[}", "xml"])
def test_an_invalid_output_fails_before_the_agent_is_reached(tmp_path: Path, output: str) -> None:
    done = nodespan("get", "links", "-o", output, directory=tmp_path)
    assert done.returncode == 1
    assert "no agent" not in done.stderr


@pytest.mark.parametrize("arguments", [("get", "links"), ("get", "links", "-w"), ("graph", "--live")])
def test_without_an_agent_the_error_says_how_to_start_one(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = nodespan(*arguments, directory=tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == (
        f"nodespan: no agent answers at {tmp_path}/agent.sock (No such file or directory): start one with "
        "`nodespan agent`, or say where it listens with --socket or NODESPAN_SOCKET\n"
    )


PIPES = ["get things | head -1", "get things -w | head -1", "get things -o yaml | head -1", "graph --live | head -1"]


async def test_a_reader_that_has_seen_enough_is_no_error(things: Things, tmp_path: Path) -> None:
    async with agent(tmp_path, *THINGS) as served:
        for pipe in PIPES:
            script = f'set -o pipefail; "$0" "$1" "$2" {pipe}; echo "status $?"'
            shell = await trio.lowlevel.open_process(
                ("bash", "-c", script, *COMMAND),
                env=environment(tmp_path),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            assert shell.stdout is not None
            assert shell.stderr is not None
            if "-w" in pipe:
                # A watch notices with the next change.
                await shell.stdout.receive_some()
                things.are(a="uno")
                os.kill(served.pid, signal.SIGHUP)
            out = b"".join([part async for part in shell.stdout])
            errors = b"".join([part async for part in shell.stderr])
            await shell.wait()
            assert out.endswith(b"status 0\n"), (pipe, out)
            assert errors == b""


async def test_options_may_stand_anywhere(things: Things, tmp_path: Path) -> None:
    socket, elsewhere = str(tmp_path / "agent.sock"), tmp_path / "elsewhere"
    elsewhere.mkdir()
    async with agent(tmp_path, *THINGS):
        for arguments in (
            ("--socket", socket, "get", "-o", "jsonpath={.spec.text}", "things", "a"),
            ("get", "things", "-o", "jsonpath={.spec.text}", "a", "--socket", socket),
            ("g", "things", "a", "-o", "jsonpath={.spec.text}", f"--socket={socket}"),
        ):
            done = nodespan(*arguments, directory=elsewhere)
            assert done.stdout == "one\n"
