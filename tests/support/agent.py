"""Real agents and commands for tests, each agent with a socket and a state directory of its own."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs

from nodespan.runtime.cli.client import ask
from nodespan.runtime.cli.errors import CommandError
from tests.support import forked
from tests.support.deadlines import PATIENCE
from tests.support.inside import Inside
from tests.support.netns import Namespace
from tests.support.process import Daemon, ending, eventually, running

# The installed command, by the interpreter that runs the tests.
COMMAND = (sys.executable, "-c", "import sys; from nodespan.runtime.cli import main; sys.exit(main())")
_SHOWN_OF_A_LOG = 4000


@attrs.frozen
class AgentProcess:
    """A running agent: where it is, and what it says."""

    directory: Path
    pid: int
    # The process that was started: the agent, or the command that wraps it.
    process: Daemon

    @property
    def socket(self) -> Path:
        """Where it listens."""
        return self.directory / "agent.sock"

    @property
    def log(self) -> str:
        """What it has written to stderr so far, and those before it in the same directory."""
        return (self.directory / "agent.log").read_text()

    def run(self, *arguments: str, check: bool = True) -> str:
        """What a command prints that asks this agent. Blocks."""
        done = nodespan(*arguments, directory=self.directory)
        assert not check or done.returncode == 0, f"nodespan {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def specs(self, type: str, namespace: str = "") -> dict[str, dict[str, Any]]:
        """The specs of a type by id, asked as `nodespan get` does, without a process of its own. Blocks."""
        request: dict[str, Any] = {"call": "get", "type": type, "namespace": namespace, "id": None, "selectors": []}
        answers = ask(str(self.socket), {**request, "watch": False, "form": "data"})
        resources = [answer["resource"] for answer in answers if "resource" in answer]
        return {resource["metadata"]["id"]: resource["spec"] for resource in resources}


def environment(directory: Path) -> dict[str, str]:
    """The variables by which a command finds the agent of a directory, and only that one.

    An agent that has them writes the files of the system below that directory too, unless it is told otherwise.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("NODESPAN_S", "XDG_"))}
    return kept | {
        "NODESPAN_SOCKET": str(directory / "agent.sock"),
        "NODESPAN_STATE_DIR": str(directory / "state"),
        "NODESPAN_ROOT": str(directory / "root"),
        "TALOSCONFIG": str(directory / "talosconfig"),
    }


def nodespan(*arguments: str, directory: Path, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command to its end. Blocks, for at most `PATIENCE`."""
    variables = environment(directory)
    if forked.can_begin(variables):
        return forked.run(*arguments, directory=directory, environment=variables, stdin=stdin, timeout=PATIENCE)
    return subprocess.run(
        (*COMMAND, *arguments),
        env=variables,
        cwd=directory,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


def command(*arguments: str, within: float) -> subprocess.CompletedProcess[str]:
    """Run a command to its end as users of this machine run it, with its own variables. Blocks."""
    return forked.run(*arguments, directory=Path.cwd(), environment=os.environ, stdin=None, timeout=within)


@contextlib.asynccontextmanager
async def agent(
    directory: Path,
    *options: str,
    namespace: Namespace | None = None,
    wrapper: tuple[str, ...] = (),
    machine: Inside | None = None,
    hostname: str = "",
    patience: float = PATIENCE,
) -> AsyncIterator[AgentProcess]:
    """An agent that answers, for as long as the block lasts.

    `wrapper` is a command that starts the one behind it. It may run on another machine than this. With a host name it
    has a UTS namespace of its own. It is given `patience` seconds to begin to answer.
    """
    log = directory / "agent.log"
    is_executed = wrapper or not forked.can_begin(environment(directory))
    if is_executed and machine:
        wrapper = (*machine.wrapper, *wrapper)
    if is_executed and hostname:
        wrapper = ("unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', hostname, *wrapper)
    if is_executed:
        started = _executed(directory, log, ("agent", *options), namespace, wrapper)
    else:
        started = _forked(directory, log, ("agent", *options), namespace, machine, hostname)
    async with started as process:

        def answers() -> AgentProcess:
            assert process.returncode is None, f"the agent ended with {process.returncode}: {log.read_text()}"
            try:
                pid = ask(str(directory / "agent.sock"), {"call": "version"})[0]["pid"]
            except CommandError as error:
                raise AssertionError(str(error)) from error
            return AgentProcess(directory, pid, process)

        yield await eventually(answers, within=patience)


@contextlib.asynccontextmanager
async def daemon(directory: Path, *arguments: str, namespace: Namespace) -> AsyncIterator[Daemon]:
    """A command that runs for as long as the block lasts, such as a service; its log is `directory`/COMMAND.log.

    One that ends by itself fails the test, but not one that its test kills. A failure has a note of the log's end.
    """
    log = directory / f"{arguments[0]}.log"
    start = _forked if forked.can_begin(environment(directory)) else _executed
    async with start(directory, log, arguments, namespace) as process:
        try:
            yield process
            code = process.returncode
            assert code in (None, -signal.SIGKILL), f"nodespan {arguments[0]} ended by itself with {code}"
        except BaseException as error:
            error.add_note(f"the end of {log}:\n{log.read_text()[-_SHOWN_OF_A_LOG:]}")
            raise


@contextlib.asynccontextmanager
async def _executed(
    directory: Path,
    log: Path,
    arguments: tuple[str, ...],
    namespace: Namespace | None,
    wrapper: tuple[str, ...] = (),
) -> AsyncIterator[Daemon]:
    with_log = ("sh", "-c", 'cd "$1" && exec 2>>"$0" && shift && exec "$@"', str(log), str(directory))
    command = (*with_log, *wrapper, *COMMAND, *arguments)
    async with running(*command, namespace=namespace, environment=environment(directory)) as process:
        yield process


@contextlib.asynccontextmanager
async def _forked(
    directory: Path,
    log: Path,
    arguments: tuple[str, ...],
    namespace: Namespace | None,
    machine: Inside | None = None,
    hostname: str = "",
) -> AsyncIterator[Daemon]:
    with log.open("a") as errors, log.open() as nothing:
        nothing.seek(0, os.SEEK_END)
        process = forked.begin(
            arguments,
            directory=directory,
            environment=environment(directory) | (machine.variables if machine else {}),
            machine=machine.process if machine else 0,
            files=(nothing.fileno(), 1, errors.fileno()),
            netns=namespace.path if namespace else None,
            hostname=hostname,
        )
    async with ending(process):
        yield process
