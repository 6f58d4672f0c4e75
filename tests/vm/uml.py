"""User Mode Linux: a kernel that is a process of this machine, for the tests that need no hardware.

It runs the programs of this machine natively, and only their system calls cost more. It has neither WireGuard nor
cards. The machine's files are its own, read-only; the results' directory alone can be written to.
"""

import os
import shutil
import tempfile
from pathlib import Path

from tests.support import packages
from tests.vm.guests import CACHE, MEMORY, PROJECT, RESULTS, CannotRunError, Ending, Part, run

PROGRAM = "linux.uml"
PACKAGES = (
    *("user-mode-linux", "util-linux", "kmod", "iproute2", "iputils-ping", "ethtool", "wireguard-tools", "pci.ids"),
    *("dnsmasq-base", "etcd-server", "wireguard-go", "ca-certificates"),
)
# Ten times what it takes on a quiet machine.
SECONDS = 1200
_NEEDED = 1 << 30


def prepare() -> None:
    """Install what is missing. Raises CannotRunError."""
    if os.uname().machine != "x86_64":
        raise CannotRunError(f"Debian has User Mode Linux for amd64, this machine is {os.uname().machine}")
    if reason := packages.install(*PACKAGES):
        raise CannotRunError(reason)


def boot(part: Part, arguments: list[str]) -> Ending:
    """Run the guest to its end. Raises CannotRunError where its kernel does not come to its first process."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="uml-", dir=CACHE) as directory:
        job = part.job(Path(directory), arguments)
        command = [
            # Its kernel and the process that it runs take turns: on two processors each turn waits for one to wake up.
            *("taskset", "--cpu-list", str(max(os.sched_getaffinity(0)))),
            *(PROGRAM, f"mem={MEMORY}", "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", "quiet"),
            *(f"init={PROJECT / 'tests/vm/uml.sh'}", f"project={PROJECT}", f"results={RESULTS}", f"job={job}"),
            *("con=null", "con0=null,fd:1", f"uml_dir={directory}"),
        ]
        ending = run(command, seconds=SECONDS, environment={"TMPDIR": _memory(Path(directory))})
    if not part.started.exists() and not ending.timed_out:
        raise CannotRunError(f"User Mode Linux does not start here: {ending.last_words}")
    return part.ended(ending)


def _memory(otherwise: Path) -> str:
    """The directory of the file that is the guest's memory: in this machine's memory, where there is room for it."""
    shared = Path("/dev/shm")
    if shared.is_dir() and shutil.disk_usage(shared).free > _NEEDED and not os.statvfs(shared).f_flag & os.ST_NOEXEC:
        return str(shared)
    return str(otherwise)
