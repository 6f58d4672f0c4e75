"""`nodespan` in processes that begin as copies of one that has imported all of it already.

Importing takes an agent more than a second of processor time, and tests start hundreds. A copy is a process like any
other: its arguments, environment, directory, files and namespaces are its own, and it runs the same `main`. Only that
it was not executed cannot be tested with it: what is about starting itself starts `nodespan` as users do.
"""

import contextlib
import gc
import importlib
import importlib.metadata
import io
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import trio

from tests.support.deadlines import IN_GUEST
from tests.support.netns import CLONE_NEWNET, call

PROJECT = Path(__file__).parents[2]
_PROGRAM = """\
import sys
from tests.support.forked import serve
serve(int(sys.argv[1]))
from nodespan.runtime.cli import main
sys.exit(main())
"""
_LARGEST = 1 << 20
_CLONE_NEWNS, _CLONE_NEWUTS = 0x00020000, 0x04000000
# What Python and its libraries look at once, when they begin.
_LOOKED_AT_ONCE = ("PYTHON", "LC_", "LANG", "TZ")


# The test's end.


class Forked:
    """A process that was begun here, with those methods of `trio.Process` that tests use."""

    def __init__(self, origin: "_Origin", pid: int) -> None:
        self.pid = pid
        self._origin = origin
        self._code: int | None = None
        # Nobody else has its number before its exit code was asked for.
        self._descriptor = os.pidfd_open(pid)

    @property
    def returncode(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self.ended(within=0.0)

    def ended(self, *, within: float) -> int | None:
        """The exit code once it has ended, None if it has not by then. Blocks."""
        if self._code is None:
            poll = select.poll()
            poll.register(self._descriptor, select.POLLIN)
            if poll.poll(within * 1000):
                self._code = self._origin.call({"exit code of": self.pid})["code"]
                os.close(self._descriptor)
        return self._code

    async def wait(self) -> int:
        """Wait for its end and return the exit code."""
        if self._code is None:
            await trio.lowlevel.wait_readable(self._descriptor)
        else:
            await trio.lowlevel.checkpoint()
        code = self.returncode
        assert code is not None
        return code

    def send_signal(self, number: signal.Signals | int) -> None:
        """Send it a signal; nothing happens if it has ended."""
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._descriptor, number)

    def kill(self) -> None:
        """Send it SIGKILL."""
        self.send_signal(signal.SIGKILL)


def can_begin(environment: Mapping[str, str]) -> bool:
    """Whether a copy with this environment is as one that was executed with it, and pays.

    A guest starts one agent only: to import everything first takes it longer than what that one imports.
    """
    return IN_GUEST not in os.environ and _looked_at_once(environment) == _USUAL


def begin(
    arguments: Sequence[str],
    *,
    directory: Path,
    environment: Mapping[str, str],
    files: tuple[int, int, int],
    netns: Path | None = None,
    machine: int = 0,
    hostname: str = "",
) -> Forked:
    """Begin `nodespan` with arguments, in a directory; the files are its first three descriptors.

    `machine` is a process whose mount and UTS namespaces it enters. With a host name it has a UTS namespace of its own.
    """
    origin = _origin()
    request = {
        "arguments": list(arguments),
        "directory": str(directory),
        "environment": dict(environment),
        "netns": str(netns or ""),
        "machine": machine,
        "hostname": hostname,
    }
    return Forked(origin, origin.call(request, files)["pid"])


def run(
    *arguments: str, directory: Path, environment: Mapping[str, str], stdin: str | None, timeout: float
) -> subprocess.CompletedProcess[str]:
    """Run `nodespan` to its end. Blocks; raises subprocess.TimeoutExpired."""
    with _file(stdin or "") as given, _file("") as output, _file("") as errors:
        files = (given.fileno(), output.fileno(), errors.fileno())
        process = begin(arguments, directory=directory, environment=environment, files=files)
        code = process.ended(within=timeout)
        if code is None:
            process.kill()
            process.ended(within=timeout)
            raise subprocess.TimeoutExpired(arguments, timeout)
        output.seek(0)
        errors.seek(0)
        return subprocess.CompletedProcess(arguments, code, output.read(), errors.read())


def stop() -> None:
    """End the process that others are copies of. Those others go on."""
    while _origins:
        _origins.pop().close()


class _Origin:
    """The process that others are copies of."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._lock = threading.Lock()
        with theirs:
            descriptor = theirs.fileno()
            command = [sys.executable, "-c", _PROGRAM, str(descriptor)]
            # Of the run, not of the test that needs it first.
            environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | _SEARCH_PATH
            self._process = subprocess.Popen(
                command, cwd=PROJECT, env=environment, pass_fds=(descriptor,), stdin=subprocess.DEVNULL
            )

    def call(self, request: dict[str, Any], files: Sequence[int] = ()) -> dict[str, Any]:
        """Ask it for something. Blocks."""
        with self._lock:
            socket.send_fds(self._socket, [json.dumps(request).encode()], files)
            answer = self._socket.recv(_LARGEST)
        assert answer, "the process that others are copies of has ended"
        found: dict[str, Any] = json.loads(answer)
        return found

    def close(self) -> None:
        """End it, and wait for that."""
        self._socket.close()
        self._process.wait()


# One, once it is needed.
_origins: list[_Origin] = []
_starting = threading.Lock()


def _origin() -> _Origin:
    with _starting:
        if not _origins:
            _origins.append(_Origin())
        return _origins[0]


def _looked_at_once(environment: Mapping[str, str]) -> dict[str, str]:
    found = {name: value for name, value in environment.items() if name.startswith(_LOOKED_AT_ONCE)}
    # What this one adds to the search path can be added later.
    found.pop("PYTHONPATH", None)
    return found


_USUAL = _looked_at_once(os.environ)
_SEARCH_PATH = {name: value for name, value in os.environ.items() if name == "PYTHONPATH"}


@contextlib.contextmanager
def _file(content: str) -> Iterator[io.TextIOWrapper]:
    with os.fdopen(os.memfd_create("nodespan"), "w+") as file:
        file.write(content)
        file.seek(0)
        yield file


# The other end.


def serve(descriptor: int) -> None:
    """Import `nodespan`, and begin a copy for each request; returns in the copies, and ends with the other end."""
    _import_all()
    gc.collect()
    gc.freeze()
    assert threading.active_count() == 1, f"a copy would lack threads: {threading.enumerate()}"
    # From a terminal it comes to all of the test run; tests end what they began.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    control = socket.socket(fileno=descriptor)
    while True:
        message, files, _, _ = socket.recv_fds(control, _LARGEST, 3)
        if not message:
            os._exit(0)
        request = json.loads(message)
        if "exit code of" in request:
            _, status = os.waitpid(request["exit code of"], 0)
            answer = {"code": os.waitstatus_to_exitcode(status)}
        elif pid := os.fork():
            answer = {"pid": pid}
        else:
            control.close()
            _become(request, files)
            return
        for file in files:
            os.close(file)
        control.send(json.dumps(answer).encode())


def _import_all() -> None:
    for group in importlib.metadata.entry_points().groups:
        if group.startswith("nodespan."):
            for entry_point in importlib.metadata.entry_points(group=group):
                entry_point.load()
    importlib.import_module("nodespan.runtime.agent")
    for package in ("nodespan.runtime.cli", "nodespan.runtime.api"):
        for module in pkgutil.iter_modules(importlib.import_module(package).__path__, f"{package}."):
            importlib.import_module(module.name)


def _become(request: dict[str, Any], files: Sequence[int]) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, file in enumerate(files):
        os.dup2(file, number)
    for file in files:
        os.close(file)
    if request["netns"]:
        with open(request["netns"]) as namespace:
            call("setns", namespace.fileno(), CLONE_NEWNET)
    if request["machine"]:
        for kind, flag in (("uts", _CLONE_NEWUTS), ("mnt", _CLONE_NEWNS)):
            with open(f"/proc/{request['machine']}/ns/{kind}") as namespace:
                call("setns", namespace.fileno(), flag)
    if request["hostname"]:
        call("unshare", _CLONE_NEWUTS)
        socket.sethostname(request["hostname"])
    os.chdir(request["directory"])
    os.environ.clear()
    os.environ.update(request["environment"])
    tempfile.tempdir = None
    added = request["environment"].get("PYTHONPATH", "").split(os.pathsep)
    sys.path[1:1] = [path for path in added if path and path not in sys.path]
    sys.argv[1:] = request["arguments"]
