"""Checks of the machine: rights, disk, kernel, modules, nft, clock, sysctls."""

import ctypes
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from nodespan.kernel.privileges import has_capability
from nodespan.runtime.overview.check import Surroundings, Verdict, failed, ok, skipped, warning

_NET_ADMIN, _NET_RAW = 12, 13
_CAPABILITIES = {_NET_ADMIN: "CAP_NET_ADMIN", _NET_RAW: "CAP_NET_RAW"}
# The first release with WireGuard, which also has all else that is used.
_OLDEST_KERNEL = (5, 6)
_LEAST_BYTES, _LEAST_FILES = 16 * 2**20, 100
_RELEASE = re.compile(r"[\w.+~-]+")
# Modules, and what does not work without each. The first is looked for in more ways than one.
_MODULES = {
    "nf_tables": "the mesh and its clear-text guard need the packet filter",
    "8021q": "VLANs cannot be made",
    "bonding": "bonds cannot be made",
    "bridge": "bridges cannot be made",
}
# Nodespan itself was made later.
_LATER_THAN = 1_767_225_600
_CLOCK_UNSYNCHRONIZED = 5
_STRUCT_TIMEX = 512


def privileges(surroundings: Surroundings) -> Iterator[Verdict]:
    """The capabilities of the agent if one runs, else of this command."""
    pid = "self" if surroundings.agent is None else str(surroundings.agent["pid"])
    whose = "this command" if surroundings.agent is None else "the agent"
    status = surroundings.read(f"proc/{pid}/status")
    if status is None:
        yield skipped(f"the capabilities of {whose} cannot be read (/proc/{pid}/status)")
        return
    lacking = [name for number, name in _CAPABILITIES.items() if not has_capability(number, status)]
    if lacking:
        text = f"{whose} lacks {', '.join(lacking)}: the network is observed and not changed"
        yield warning(text, "run it as root, or by the unit of the package")
    else:
        yield ok(f"{whose} may change the network")


def disk(surroundings: Surroundings) -> Iterator[Verdict]:
    """The state directory: there, writable, private, with room."""
    directory = surroundings.state_dir
    if not directory.exists():
        above = next(each for each in directory.parents if each.exists())
        if not os.access(above, os.W_OK):
            remedy = f"make {above} writable, or give the agent another --state-dir"
            yield failed(f"{directory} does not exist, and {above} is not writable", remedy)
        else:
            yield ok(f"{directory} does not exist yet, and can be made")
        return
    status = directory.stat()
    if status.st_mode & 0o077:
        yield warning(f"{directory} is open to other users, and has secrets in it", f"chmod 0700 {directory}")
    if not os.access(directory, os.R_OK | os.X_OK):
        yield skipped(f"{directory} is not readable for this user", "run nodespan doctor as root")
        return
    numbers = os.statvfs(directory)
    if numbers.f_flag & os.ST_RDONLY:
        remedy = f"mount it writable, or give the agent another --state-dir: {directory} must outlive it"
        yield failed(f"{directory} is on a read-only file system", remedy)
        return
    if reason := _why_not_writable(directory):
        yield failed(f"{directory} cannot be written: {reason}", "make room, or see to its rights")
        return
    free = numbers.f_bavail * numbers.f_frsize
    if free < _LEAST_BYTES or (numbers.f_files and numbers.f_favail < _LEAST_FILES):
        yield warning(f"the file system of {directory} is almost full ({free // 2**20} MiB free)", "make room there")
    else:
        yield ok(f"{directory} is writable, with {free // 2**20} MiB free")


def _why_not_writable(directory: Path) -> str:
    try:
        with tempfile.TemporaryFile(dir=directory) as file:
            file.write(b"nodespan doctor")
            file.flush()
    except OSError as error:
        return error.strerror or str(error)
    return ""


def kernel(surroundings: Surroundings) -> Iterator[Verdict]:
    """Its version, and whether it has WireGuard, or a program in its place."""
    release = _release(surroundings)
    found = re.match(r"(\d+)\.(\d+)", release)
    if found is None:
        yield skipped("the version of the kernel cannot be read")
    elif (int(found[1]), int(found[2])) < _OLDEST_KERNEL:
        oldest = ".".join(map(str, _OLDEST_KERNEL))
        yield failed(f"Linux {release} is too old", f"nodespan needs Linux {oldest}")
    else:
        yield ok(f"Linux {release}")
    if has_module(surroundings, "wireguard", release):
        yield ok("WireGuard is in the kernel")
    elif surroundings.find_program("wireguard-go"):
        yield ok("WireGuard is not in the kernel; wireguard-go takes its place")
    else:
        remedy = "install the kernel's modules (linux-modules-extra on some systems), or wireguard-go"
        yield failed("neither the kernel has WireGuard nor is there wireguard-go: no mesh", remedy)


def _release(surroundings: Surroundings) -> str:
    text = surroundings.read("proc/sys/kernel/osrelease") or ""
    return text if _RELEASE.fullmatch(text) else ""


def has_module(surroundings: Surroundings, name: str, release: str) -> bool:
    """Whether a module is loaded, built in, or can be loaded."""
    if (surroundings.root / "sys/module" / name).is_dir():
        return True
    wanted = re.compile(rf"(?:^|/){name.replace('_', '[-_]')}\.ko(?:\.\w+)?(?:[:\s]|$)", re.MULTILINE)
    for file in ("modules.builtin", "modules.dep"):
        text = surroundings.read(f"lib/modules/{release}/{file}")
        if text is not None and wanted.search(text):
            return True
    return False


def modules(surroundings: Surroundings) -> Iterator[Verdict]:
    """What only some configurations need."""
    release = _release(surroundings)
    if not (surroundings.root / "lib/modules" / release / "modules.dep").exists():
        yield skipped(
            f"which modules there are for Linux {release} is not known: no /lib/modules/{release}",
            "in a container, look at the host",
        )
        return
    missing = [name for name in _MODULES if not has_module(surroundings, name, release)]
    for name in missing:
        yield warning(f"the kernel has no {name}: {_MODULES[name]}", "install the kernel's modules")
    if not missing:
        yield ok(f"{', '.join(_MODULES)}")


def nft(surroundings: Surroundings) -> Iterator[Verdict]:
    """The command of the packet filter, and whether the kernel answers it."""
    if surroundings.find_program("nft") is None:
        yield failed("nft is not installed: the mesh routes nothing", "install the package nftables")
        return
    version = surroundings.run_program(("nft", "--version"))
    if version is None:
        yield failed("nft is installed and does not run", "run: nft --version")
        return
    yield ok(version.strip())
    status = surroundings.read("proc/self/status") or ""
    if not has_capability(_NET_ADMIN, status):
        yield skipped("whether the kernel has nf_tables is known to root only", "run nodespan doctor as root")
    elif surroundings.run_program(("nft", "list", "tables")) is None:
        yield failed("the kernel refuses nft", "run: nft list tables; it may lack the module nf_tables")


def _adjtimex() -> int | None:
    """The state of the kernel's clock; None where there is no such call."""
    try:
        library = ctypes.CDLL(None, use_errno=True)
        buffer = ctypes.create_string_buffer(_STRUCT_TIMEX)  # all zero: nothing is set
        state = int(library.adjtimex(buffer))
    except (OSError, AttributeError):
        return None
    return None if state == -1 else state


def clock(
    surroundings: Surroundings, now: Callable[[], float] = time.time, state: Callable[[], int | None] = _adjtimex
) -> Iterator[Verdict]:
    """Whether it can be right: certificates, handshakes and leases depend on it."""
    del surroundings
    text = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now()))
    if now() < _LATER_THAN:
        remedy = (
            "set the clock; WireGuard refuses handshakes from before the last one, and certificates are not valid yet"
        )
        yield failed(f"the clock is wrong: {text}", remedy)
    elif (found := state()) is None:
        yield skipped(f"it is {text}; whether the clock is synchronized cannot be read")
    elif found == _CLOCK_UNSYNCHRONIZED:
        remedy = "run a time service (systemd-timesyncd, chrony); on virtual machines the host may see to it"
        yield warning(f"the clock is not synchronized: {text}", remedy)
    else:
        yield ok(f"synchronized: {text}")


def sysctls(surroundings: Surroundings) -> Iterator[Verdict]:
    """Settings that break the mesh or what is routed through this node."""

    def value(name: str) -> str:
        return surroundings.read(f"proc/sys/net/{name}") or ""

    found = False
    if value("ipv6/conf/all/disable_ipv6") in ("1", ""):
        found = True
        text = "IPv6 is turned off: addresses of the mesh are IPv6"
        yield failed(
            text, "sysctl net.ipv6.conf.all.disable_ipv6=0, and without ipv6.disable=1 on the kernel command line"
        )
    if value("ipv4/conf/all/rp_filter") == "1":
        found = True
        text = (
            "net.ipv4.conf.all.rp_filter is 1 (strict): packets that come by another way than they would go are dropped"
        )
        yield warning(text, "sysctl net.ipv4.conf.all.rp_filter=2; nodespan does so for the links that it makes")
    off = [name for name in ("ipv4/ip_forward", "ipv6/conf/all/forwarding") if value(name) == "0"]
    if off:
        found = True
        names = ", ".join(f"net.{name.replace('/', '.')}" for name in off)
        text = f"{names} is 0: networks behind this node (pods, for example) are not reached through it"
        settings = " ".join(f"net.{name.replace('/', '.')}=1" for name in off)
        yield skipped(text, f"if it has any: sysctl {settings}")
    if not found:
        yield ok("IPv6 is on, packets are forwarded, reverse paths are not filtered strictly")


__all__ = [
    "clock",
    "disk",
    "kernel",
    "modules",
    "nft",
    "privileges",
    "sysctls",
]
