"""What an agent weighs, how long it takes until it answers, and what a command that asks it costs."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.measure import Figure, compare
from nodespan.runtime.cli.client import AgentGoneError, specs

_PYTHON = (sys.executable, "-c")
# Of the tree that is measured: the installed script starts the one that it was installed from.
NODESPAN = (*_PYTHON, "import sys; from nodespan.runtime.cli import main; sys.exit(main())")
# After the free memory was given back.
_SETTLED = 25.0
_ROUTES = 10_000


def place_of_its_own(directory: Path) -> dict[str, str]:
    """The environment of an agent whose socket, state and files of the system are below this directory."""
    (directory / "root" / "etc").mkdir(parents=True)
    return os.environ | {
        "NODESPAN_SOCKET": str(directory / "agent.sock"),
        "NODESPAN_STATE_DIR": str(directory / "state"),
        "NODESPAN_ROOT": str(directory / "root"),
    }


@contextmanager
def _agent(*prefix: str) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, str]]]:
    """An agent without a configuration, which changes nothing of this machine; `prefix` is what executes it."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        environment = place_of_its_own(directory)
        process = subprocess.Popen((*prefix, *NODESPAN, "agent"), env=environment, stderr=subprocess.DEVNULL)
        try:
            yield process, environment
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


def _milliseconds(*command: str, environment: dict[str, str] | None = None) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env=environment)
    return (time.perf_counter() - started) * 1e3


def _until_it_answers() -> float:
    started = time.perf_counter()
    with _agent() as (process, environment):
        # Asked without a command each time, which would take a processor from it.
        while True:
            try:
                assert specs(environment["NODESPAN_SOCKET"], "links")
                return (time.perf_counter() - started) * 1e3
            except AgentGoneError:
                assert process.poll() is None
                time.sleep(0.01)


def start() -> Figure:
    """From the start of the process to the first answer."""
    measured = compare(_until_it_answers, lambda: _milliseconds(*_PYTHON, "import trio, attrs"), repeats=3)
    return Figure("an agent's start until it answers, against python with trio, attrs", *measured, 8, "ms", goal=5)


def cold_get() -> Figure:
    """`nodespan get links` by the short way."""
    with _agent() as (_, environment):
        asking = (*NODESPAN, "get", "links")
        while subprocess.run(asking, check=False, env=environment, capture_output=True).returncode != 0:
            time.sleep(0.05)
        measured = compare(
            lambda: _milliseconds(*asking, environment=environment),
            lambda: _milliseconds(*_PYTHON, "import msgpack"),
            repeats=15,
        )
    return Figure("nodespan get links, cold, against python with msgpack", *measured, 1.5, "ms")


@contextmanager
def _agent_with_routes() -> Iterator[tuple[tuple[str, ...], dict[str, str]]]:
    """An agent that shows many routes, in namespaces of its own: the command that enters them, and its environment."""
    lines = [f"route add 10.{number >> 8}.{number & 255}.0/24 dev lo" for number in range(_ROUTES)]
    with _agent("unshare", "--net", "--mount", "--uts") as (process, environment):
        while os.path.samefile(f"/proc/{process.pid}/ns/net", "/proc/self/ns/net"):
            assert process.poll() is None
            time.sleep(0.01)
        inside = ("nsenter", f"--net=/proc/{process.pid}/ns/net")
        batch = "\n".join(["link set lo up", *lines])
        subprocess.run((*inside, "ip", "-batch", "-"), input=batch.encode(), check=True)
        asking = (*inside, *NODESPAN, "get", "routes")
        while subprocess.run(asking, check=False, env=environment, capture_output=True).stdout.count(b"10.") < _ROUTES:
            assert process.poll() is None
            time.sleep(0.1)
        yield inside, environment


def routes() -> Figure:
    """A table of many routes, from the agent to the end of the command."""
    with _agent_with_routes() as (inside, environment):
        asking = (*inside, *NODESPAN, "get", "routes")

        def first() -> float:
            # Another table in between: the agent keeps the last one.
            _milliseconds(*asking, "-o", "wide", environment=environment)
            return _milliseconds(*asking, environment=environment)

        measured = compare(first, lambda: _milliseconds(*inside, "ip", "-json", "route"), repeats=11)
    return Figure("a table of 10,000 routes, against ip -json route", *measured, 3, "ms", goal=1.5)


def routes_again() -> Figure:
    """The same table, which did not change within some seconds."""
    with _agent_with_routes() as (inside, environment):
        asking = (*inside, *NODESPAN, "get", "routes")
        measured = compare(
            lambda: _milliseconds(*asking, environment=environment),
            lambda: _milliseconds(*inside, "ip", "-json", "route"),
            repeats=11,
        )
    return Figure("that table again, against ip -json route", *measured, 1.5, "ms")


def weight() -> Figure:
    """Resident memory of an idle agent without a configuration."""
    with _agent() as (process, _):
        time.sleep(_SETTLED)
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        resident = next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))
    return Figure("memory of an idle agent, against the goal", resident / 1000, 45, 1.4, "MB", goal=1)


FIGURES = (start, cold_get, routes, routes_again, weight)
