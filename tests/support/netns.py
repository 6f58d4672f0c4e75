"""Network namespaces for tests: made with names of this run, removed after the processes that live in them.

What tests do most often starts no program: under User Mode Linux each start of one costs a tenth of a second.
"""

import contextlib
import ctypes
import fcntl
import functools
import itertools
import json
import os
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

from tests.support import run
from tests.support.deadlines import PATIENCE
from tests.support.kept_ip import KeptIp

_numbers = itertools.count()

_libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
_MS_BIND, _MS_REC, _MS_SHARED = 1 << 12, 1 << 14, 1 << 20
_MNT_DETACH = 2
_OWN = "/proc/thread-self/ns/net"
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1


@attrs.frozen
class Namespace:
    """A network namespace that exists for as long as the `namespace` block that made it."""

    name: str
    # By the options that stand before their commands.
    _kept: dict[tuple[str, ...], KeptIp] = attrs.field(factory=dict, init=False, eq=False, repr=False)

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
        # What this thread starts begins where the thread is.
        with entered(self):
            return execute(*command, stdin=stdin)

    def ip(self, *lines: str) -> None:
        """Run `ip` in here once for many lines, each what would stand behind `ip`. Blocks; errors as in `run`."""
        self.run("ip", "-batch", "-", stdin="\n".join(lines) + "\n")

    def reported(self, *words: str) -> list[dict[str, Any]]:
        """What `ip -json -details` prints in here, without the empty objects for filtered entries.

        One `ip` is kept for all of these questions, and asked for all links before each. That is why `address show dev
        LINK` has no addresses (iproute2 6.1): choose from those of `address`. Blocks; errors as in `run`.
        """
        options = tuple(itertools.takewhile(lambda word: word.startswith("-"), words))
        if options not in self._kept:
            self._kept[options] = KeptIp(functools.partial(self._start_ip, *options))
        try:
            answer = self._kept[options].ask(" ".join(words[len(options) :]))
        except BaseException:
            self._kept.pop(options).close()
            raise
        return [each for each in json.loads(answer) if each]

    def bring_up(self, link: str) -> None:
        """Set a new link up. Raises OSError."""
        with entered(self), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            flags = struct.unpack("16xH14x", fcntl.ioctl(control, _SIOCGIFFLAGS, struct.pack("32s", link.encode())))[0]
            fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sH14x", link.encode(), flags | _IFF_UP))

    def _start_ip(self, *options: str) -> subprocess.Popen[bytes]:
        command, pipe = ("ip", *options, "-json", "-details", "-batch", "-"), subprocess.PIPE
        with entered(self):
            return subprocess.Popen(command, bufsize=0, stdin=pipe, stdout=pipe, stderr=pipe)

    def close(self) -> None:
        """End what `reported` keeps."""
        while self._kept:
            self._kept.popitem()[1].close()

    def processes(self) -> tuple[int, ...]:
        """The processes that live in here, this one and those of `reported` never among them."""
        here = os.stat(self.path)
        own = {os.getpid(), *(kept.pid for kept in self._kept.values())}
        others = (int(entry) for entry in os.listdir("/proc") if entry.isdecimal() and int(entry) not in own)
        return tuple(pid for pid in others if _lives_in(pid, here))


def execute(*command: str, stdin: str | None = None) -> str:
    """Run a command to its end and return what it printed. Blocks; errors as in `Namespace.run`."""
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, f"{' '.join(command)}: exit {done.returncode}: {done.stderr.strip()}"
    return done.stdout


@contextlib.contextmanager
def namespace(label: str = "node") -> Iterator[Namespace]:
    """Make a namespace with lo up; at the end stop every process in it (SIGTERM, then SIGKILL), then remove it.

    It is one as `ip netns` makes them. Raises AssertionError where none can be made.
    """
    made = Namespace(f"{run.NAME}-{label}-{next(_numbers)}")
    try:
        _add(made.path)
    except OSError as error:
        raise AssertionError(f"cannot make the network namespace {made.name}: {error}") from error
    try:
        made.bring_up("lo")
        yield made
    finally:
        made.close()
        try:
            _stop(made)
        finally:
            _remove(made.path)


@contextlib.contextmanager
def namespaces(*labels: str) -> Iterator[tuple[Namespace, ...]]:
    """Make one namespace per label, in this order."""
    with contextlib.ExitStack() as stack:
        yield tuple(stack.enter_context(namespace(label)) for label in labels)


def connect(left: Namespace, left_link: str, right: Namespace, right_link: str) -> None:
    """Lay a cable: a veth pair with one end in each namespace, both up. It vanishes with either namespace."""
    # Made inside, for outside there may be a link of this name.
    left.run(
        *("ip", "link", "add", "name", left_link, "type", "veth"),
        *("peer", "name", right_link, "netns", right.name),
    )
    # Only now, for a veth comes up once it has its peer.
    left.bring_up(left_link)
    right.bring_up(right_link)


@contextlib.contextmanager
def entered(target: Namespace) -> Iterator[None]:
    """Sockets made in this block belong to the namespace, and stay there. Never await inside: it moves the thread."""
    home = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
    try:
        away = os.open(target.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            call("setns", away, CLONE_NEWNET)
        finally:
            os.close(away)
        try:
            yield
        finally:
            call("setns", home, CLONE_NEWNET)
    finally:
        os.close(home)


def call(function: str, *arguments: bytes | int | None) -> None:
    """A call of the C library; some of these Python has since 3.12, others never. Raises OSError."""
    if getattr(_libc, function)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{function}: {os.strerror(number)}")


def _add(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    directory = os.fsencode(path.parent)
    # So that a namespace which is removed goes from all that see the directory.
    try:
        call("mount", b"", directory, b"none", _MS_SHARED | _MS_REC, None)
    except OSError:  # no mount point yet
        call("mount", directory, directory, b"none", _MS_BIND | _MS_REC, None)
        call("mount", b"", directory, b"none", _MS_SHARED | _MS_REC, None)
    path.touch(0o000, exist_ok=False)
    try:
        home = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
        try:
            call("unshare", CLONE_NEWNET)
            try:
                call("mount", _OWN.encode(), os.fsencode(path), b"none", _MS_BIND, None)
            finally:
                call("setns", home, CLONE_NEWNET)
        finally:
            os.close(home)
    except OSError:
        path.unlink()
        raise


def _remove(path: Path) -> None:
    call("umount2", os.fsencode(path), _MNT_DETACH)
    path.unlink()


def _lives_in(pid: int, namespace: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.stat(f"/proc/{pid}/ns/net"), namespace)
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return False  # it has ended, or is out of reach


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
