"""Starts wireguard-go, where the kernel has no WireGuard.

The process is detached: it has a session of its own and shares nothing with the agent, so tunnels outlive the agent
however that ends, and the next agent finds the device by its socket. It ends when its link is deleted. (A service
manager that kills all processes of a service must not do that here: `KillMode=process` for systemd.)
"""

import errno
import fcntl
import os
import shutil
import signal
import threading
import time

from nodespan.kernel.netns import in_netns
from nodespan.kernel.wireguard.uapi import UserspaceWireguard

PROGRAM = "wireguard-go"

_PATIENCE = 5.0
_POLL = 0.005
_KEPT_OUTPUT = 4096


def start(name: str, netns: str | None) -> None:
    """Create the link by starting a process for it, and wait until the process answers. Blocks for seconds.

    Raises FileNotFoundError if the program is not installed, OSError with the program's message if it fails.
    """
    program = shutil.which(PROGRAM)
    if program is None:
        raise FileNotFoundError(
            2, f"this kernel has no WireGuard and {PROGRAM} is not installed: load the module wireguard, or install it"
        )
    with _Output() as output:
        ended = _run(program, name, netns, output)
        device = UserspaceWireguard(netns)
        deadline = time.monotonic() + _PATIENCE
        while not device.owns(name):
            if ended.is_set() or time.monotonic() > deadline:
                raise OSError(5, f"{PROGRAM} does not run {name}: {output.text() or 'it printed nothing'}")
            time.sleep(_POLL)


def _run(program: str, name: str, netns: str | None, output: "_Output") -> threading.Event:
    """Start the process in the namespace; the event is set when it has ended."""
    # In the foreground it also prints no banner; the variable has the same effect in versions that ignore the option.
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LOG_LEVEL": "error", "WG_PROCESS_FOREGROUND": "1"}
    with in_netns(netns):
        # A process starts in the namespace of the thread that starts it.
        process = os.posix_spawn(
            program,
            [PROGRAM, "-f", name],
            {**os.environ, **environment},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, output.descriptor, 1),
                (os.POSIX_SPAWN_DUP2, output.descriptor, 2),
            ],
            setsid=True,
        )
    ended = threading.Event()

    def reap() -> None:
        os.waitpid(process, 0)
        ended.set()

    try:
        # The agent is its parent and has to reap it.
        threading.Thread(target=reap, name=f"reap {PROGRAM} {name}", daemon=True).start()
    except RuntimeError as error:
        os.kill(process, signal.SIGKILL)
        reap()
        raise OSError(errno.EAGAIN, f"{PROGRAM} is not started: {error}") from error
    return ended


class _Output:
    """A file in memory that takes the first output of the process and refuses the rest.

    Not a pipe: that would break when the agent ends, and a write to a broken pipe kills the process.
    """

    def __enter__(self) -> "_Output":
        self.descriptor = os.memfd_create(PROGRAM, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(self.descriptor, _KEPT_OUTPUT)
            fcntl.fcntl(self.descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK)
        except OSError:
            os.close(self.descriptor)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)

    def text(self) -> str:
        """The output, in one line."""
        return " ".join(os.pread(self.descriptor, _KEPT_OUTPUT, 0).rstrip(b"\0").decode(errors="replace").split())
