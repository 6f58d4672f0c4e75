"""What would keep this machine from being part of a mesh, found by trying before anything is changed. Calls block."""

import contextlib
import errno
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from nodespan.controllers.common.installing import how_to_install
from nodespan.kernel.wireguard.daemon import PROGRAM as WIREGUARD_GO
from nodespan.runtime.whole_file import make_directory

# More than what is written there; a disk that has less is full for all purposes.
_ROOM = 256 << 10
_TUN = "/dev/net/tun"


def obstacles(*, directories: Iterable[Path], tcp: Iterable[int] = (), udp: Iterable[int] = ()) -> list[str]:
    """A sentence for each obstacle, with what to do; empty if there is none.

    The directories are made if they are missing, unless something blocks, and must take files. The ports must be free.
    """
    directories = tuple(directories)
    with _unmade_if_any(directories) as found:
        if os.geteuid() != 0:
            found.append("the network is changed as root only: run it with sudo")
        found += [reason for directory in directories if (reason := no_room(directory))]
        if shutil.which("nft") is None:
            found.append(f"nft is missing, by which packets find the tunnels: {how_to_install('nftables')}")
        elif os.geteuid() == 0 and (reason := _refusal("nft", "--check", "add table inet nodespan_probe")):
            found.append(f"this kernel has no nftables ({reason}): load the module nf_tables")
        if os.geteuid() == 0:
            found += _no_wireguard()
        kinds = ((socket.SOCK_STREAM, "TCP", tcp), (socket.SOCK_DGRAM, "UDP", udp))
        found += [reason for kind, name, ports in kinds for port in ports if (reason := _taken(kind, name, port))]
    return found


def obstacles_of_writing(directories: Iterable[Path]) -> list[str]:
    """The same of the directories alone, where nothing is started."""
    directories = tuple(directories)
    with _unmade_if_any(directories) as found:
        found += [reason for directory in directories if (reason := no_room(directory))]
    return found


@contextlib.contextmanager
def _unmade_if_any(directories: Iterable[Path]) -> Iterator[list[str]]:
    """A list for obstacles; if it gets any, the directories that were made meanwhile are removed again."""
    missing = {
        path for directory in directories for path in (directory, *directory.parents) if not os.path.lexists(path)
    }
    found: list[str] = []
    yield found
    if found:
        for path in sorted(missing, key=lambda path: len(path.parts), reverse=True):
            if os.path.isdir(path) and not os.listdir(path):
                path.rmdir()


def no_room(directory: Path) -> str:
    """Why nothing can be kept in a directory, which is made if it is missing; "" if it can."""
    try:
        make_directory(directory, mode=0o700)
        # Without a name where the file system can do that; NFS and overlays of old kernels cannot.
        with tempfile.TemporaryFile(dir=directory) as probe:
            _reserve(probe.fileno())
    except OSError as error:
        return _explain(directory, error)
    return ""


def _reserve(descriptor: int) -> None:
    """Take the room, where the file system can tell whether it has that. Raises OSError."""
    try:
        os.posix_fallocate(descriptor, 0, _ROOM)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
            raise


def _explain(directory: Path, error: OSError) -> str:
    advice = {
        errno.EROFS: "mount it writable, or give other places by --config and --state-dir",
        errno.ENOSPC: "make room on its disk",
        errno.EDQUOT: "make room in its quota",
        errno.EACCES: "run it with sudo",
        errno.EPERM: "run it with sudo",
        errno.EEXIST: "something else has its name: move that away",
        errno.ENOTDIR: "something else has its name: move that away",
    }
    what = advice.get(error.errno or 0, "")
    return f"{directory} takes no files: {error.strerror}" + (f"; {what}" if what else "")


def _no_wireguard() -> Iterator[str]:
    if Path("/sys/module/wireguard").exists():
        return
    if shutil.which("ip") is not None and shutil.which("unshare") is not None:
        refusal = _refusal("unshare", "--net", "ip", "link", "add", "probe", "type", "wireguard")
    else:
        refusal = (
            _refusal("modprobe", "--dry-run", "wireguard") if shutil.which("modprobe") else "no module of it is loaded"
        )
    if not refusal:
        return
    if shutil.which(WIREGUARD_GO) is None:
        yield (
            f"this kernel has no WireGuard ({refusal}), and {WIREGUARD_GO} is not installed: load the module "
            f"wireguard, or {how_to_install(WIREGUARD_GO)}"
        )
    elif not os.path.exists(_TUN):
        yield f"this kernel has no WireGuard, and {WIREGUARD_GO} needs {_TUN}: load the module tun"


def _taken(kind: socket.SocketKind, name: str, port: int) -> str:
    family = socket.AF_INET6 if socket.has_ipv6 and os.path.exists("/proc/net/if_inet6") else socket.AF_INET
    with contextlib.closing(socket.socket(family, kind)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return (
                    f"port {port} ({name}) is in use by another program: stop it (ss -lp sport = :{port} shows which)"
                )
            return f"port {port} ({name}) cannot be used: {error.strerror}"
    return ""


def _refusal(*command: str) -> str:
    """Run a command; "" if it succeeds, else its message in one line."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return ""
    return " ".join(done.stderr.split()) or f"exit status {done.returncode}"
