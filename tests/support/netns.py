"""Network namespaces for tests: made with names of this run, removed after the processes that live in them."""

import contextlib
import ctypes
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import attrs

from tests.support import run

_numbers = itertools.count()


@attrs.frozen
class Namespace:
    """A network namespace that exists for as long as the `namespace` block that made it."""

    name: str

    @property
    def path(self) -> Path:
        """The file that keeps the namespace, for setns and `nsenter --net=`."""
        return run.NETNS_DIRECTORY / self.name

    def inside(self, *command: str) -> tuple[str, ...]:
        """The command line that runs a command in here; /sys stays the host's."""
        return ("nsenter", f"--net={self.path}", "--", *command)

    def run(self, *command: str, stdin: str | None = None) -> str:
        """Run a command in here to its end and return what it printed. Blocks.

        Raises AssertionError with the command's own words if it fails, TimeoutExpired after 30 seconds.
        """
        return execute(*self.inside(*command), stdin=stdin)

    def processes(self) -> tuple[int, ...]:
        """The processes that live in here, this one never among them."""
        listed = execute("ip", "netns", "pids", self.name).split()
        return tuple(pid for pid in map(int, listed) if pid != os.getpid())


def execute(*command: str, stdin: str | None = None) -> str:
    """Run a command to its end and return what it printed. Blocks; errors as in `Namespace.run`."""
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, f"{' '.join(command)}: exit {done.returncode}: {done.stderr.strip()}"
    return done.stdout


@contextlib.contextmanager
def namespace(label: str = "node") -> Iterator[Namespace]:
    """Make a namespace with lo up; at the end stop every process in it (SIGTERM, then SIGKILL), then remove it."""
    made = Namespace(f"{run.NAME}-{label}-{next(_numbers)}")
    execute("ip", "netns", "add", made.name)
    try:
        made.run("ip", "link", "set", "lo", "up")
        yield made
    finally:
        try:
            _stop(made)
        finally:
            execute("ip", "netns", "delete", made.name)


@contextlib.contextmanager
def namespaces(*labels: str) -> Iterator[tuple[Namespace, ...]]:
    """Make one namespace per label, in this order."""
    with contextlib.ExitStack() as stack:
        yield tuple(stack.enter_context(namespace(label)) for label in labels)


def connect(left: Namespace, left_link: str, right: Namespace, right_link: str) -> None:
    """Lay a cable: a veth pair with one end in each namespace, both up. It vanishes with either namespace."""
    execute(
        *("ip", "link", "add", left_link, "netns", left.name, "type", "veth"),
        *("peer", "name", right_link, "netns", right.name),
    )
    left.run("ip", "link", "set", left_link, "up")
    right.run("ip", "link", "set", right_link, "up")


@contextlib.contextmanager
def entered(target: Namespace) -> Iterator[None]:
    """Sockets made in this block belong to the namespace, and stay there. Never await inside: it moves the thread."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        away = os.open(target.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _setns(away)
        finally:
            os.close(away)
        try:
            yield
        finally:
            _setns(home)
    finally:
        os.close(home)


def _setns(descriptor: int) -> None:
    clone_newnet = 0x40000000
    if sys.version_info >= (3, 12):
        os.setns(descriptor, clone_newnet)
    elif ctypes.CDLL(None, use_errno=True).setns(descriptor, clone_newnet):
        number = ctypes.get_errno()
        raise OSError(number, f"setns: {os.strerror(number)}")


def _stop(target: Namespace) -> None:
    for kind, patience in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
        for pid in target.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, kind)
        deadline = time.monotonic() + patience
        while target.processes() and time.monotonic() < deadline:
            time.sleep(0.01)
    remaining = target.processes()
    assert not remaining, f"processes {remaining} in namespace {target.name} outlived SIGKILL"
