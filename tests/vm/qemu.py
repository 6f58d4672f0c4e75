"""Debian's kernel under QEMU, with network cards at chosen places: for the tests marked `hardware`.

With KVM where that works. Where it does not, the processor is emulated, which takes many times as long. The guest sees
this machine's files read-only through 9p, which is slow for the thousands of small files that Python opens. So the
project with its virtual environment, and the standard library, go into a disk image first. The kernel is unpacked below
.cache and not installed: a test does not change what this machine boots next.
"""

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from tests.support import packages
from tests.vm.cards import qemu_options
from tests.vm.guests import CACHE, GUEST_RESULTS, MEMORY, PROJECT, RESULTS, CannotRunError, Ending, Part, execute, run

PACKAGES = (
    *("qemu-system-x86", "busybox-static", "kmod", "udev", "file", "e2fsprogs", "util-linux"),
    *("iproute2", "iputils-ping", "ethtool", "nftables", "wireguard-tools", "pci.ids", "dnsmasq-base", "etcd-server"),
)
# Its own environment, pinned: it starts the guest, nothing imports it, and its dependencies are nobody else's business.
VIRTME = "virtme-ng==1.42"
# The flavour for real machines: that for clouds lacks 9p and does not boot here.
KERNEL = "linux-image-amd64"

# The kernel's check of its timer fails, and it panics, where the processor is emulated and gets no time meanwhile.
APPENDED = "no_timer_check"

# Five times what it takes emulated, on a quiet machine.
SECONDS = 1500
SOAK_SECONDS = 3 * SECONDS
# A kernel that has nothing to boot from comes to its panic within two seconds where KVM works.
PROBE_SECONDS = 20
# Large, and not needed inside.
LEFT_OUT = (".git", ".cache", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis")
LIBRARY_LEFT_OUT = ("test", "idlelib", "ensurepip", "site-packages", "dist-packages", "config-*")


def prepare() -> Path:
    """Fetch what is missing and return the kernel image. Blocks for a minute the first time. Raises CannotRunError."""
    if os.uname().machine != "x86_64":
        raise CannotRunError(f"the guest is an amd64 Debian, this machine is {os.uname().machine}")
    if reason := packages.install(*PACKAGES):
        raise CannotRunError(reason)
    virtme = CACHE / VIRTME
    if not (virtme / "bin" / "vng").exists():
        shutil.rmtree(virtme, ignore_errors=True)
        execute(sys.executable, "-m", "venv", str(virtme))
        execute(str(virtme / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", VIRTME)
    return fetch_kernel()


def has_kvm(kernel: Path) -> bool:
    """Whether KVM really runs a kernel. A /dev/kvm that opens says little: its guest may hang, or lack a register."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    command = [
        *("qemu-system-x86_64", "-accel", "kvm", "-cpu", "host", "-m", "256", "-nodefaults", "-no-reboot"),
        *("-display", "none", "-serial", "stdio", "-kernel", str(kernel), "-append", "console=ttyS0 panic=-1"),
    ]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=PROBE_SECONDS)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0 and b"Kernel panic" in done.stdout


def fetch_kernel() -> Path:
    """Download and unpack the kernel that Debian's own package name stands for, unless that was done before."""
    unpacked = CACHE / "kernel"
    if images := sorted(unpacked.glob("boot/vmlinuz-*")):
        return images[-1]
    depends = execute("apt-cache", "depends", "--important", KERNEL).split()
    package = next((word for word in depends if word.startswith("linux-image-") and word != KERNEL), None)
    if package is None:
        raise CannotRunError(f"apt knows no package {KERNEL}; this needs a Debian with its package lists")
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as name:
        if reason := packages.fetch(Path(name), package):
            raise CannotRunError(reason)
        half = Path(name) / "kernel"
        execute("dpkg-deb", "--extract", str(Path(name) / f"{package}.deb"), str(half))
        if not (half / "lib").exists():
            (half / "lib").symlink_to("usr/lib")
        (image,) = half.glob("boot/vmlinuz-*")
        execute("depmod", "--basedir", str(half), image.name.removeprefix("vmlinuz-"))
        # Only a whole one ever stands at this place.
        half.rename(unpacked)
    return unpacked / "boot" / image.name


def make_disk(directory: Path) -> Path:
    """An ext4 image of the project and the standard library, made from hard links where the file system allows."""
    tree = directory / "tree"
    for source, place, left_out in (
        (PROJECT, "project", LEFT_OUT),
        (Path(sysconfig.get_path("stdlib")), "library", LIBRARY_LEFT_OUT),
    ):
        shutil.copytree(
            source, tree / place, symlinks=True, ignore=shutil.ignore_patterns(*left_out), copy_function=link_or_copy
        )
    (tree / "project" / ".cache").mkdir()
    disk = directory / "disk.img"
    execute("mkfs.ext4", "-q", "-O", "^has_journal", "-m", "0", "-d", str(tree), str(disk), "2G")
    return disk


def link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or a file that is not ours to link
        shutil.copy2(source, target)


def boot(part: Part, kernel: Path, arguments: list[str], *, kvm: bool) -> Ending:
    """Run the guest to its end."""
    binaries = CACHE / VIRTME / "bin"
    with tempfile.TemporaryDirectory(prefix="qemu-", dir=CACHE) as name:
        directory = Path(name)
        job = directory / "job"
        job.write_text(f"touch {GUEST_RESULTS}/{part.started.name}\n{part.command(arguments)}\n")
        places = ("/dev/vda", str(PROJECT), sysconfig.get_path("stdlib"), str(job))
        options = ("-drive", f"file={make_disk(directory)},if=virtio,format=raw,cache=unsafe", *qemu_options())
        command = [
            *(str(binaries / "vng"), "--run", str(kernel), "--user", "root", "--memory", MEMORY, "--cpus", "2"),
            *([] if kvm else ["--disable-kvm", f"--append={APPENDED}"]),
            *("--rodir", str(PROJECT), "--rwdir", f"{GUEST_RESULTS}={RESULTS}", f"--qemu-opts={shlex.join(options)}"),
            *("--", shlex.join(("bash", str(PROJECT / "tests/vm/qemu.sh"), *places))),
        ]
        print(f"booting {kernel.name} under QEMU, {'by KVM' if kvm else 'emulated'}", flush=True)  # noqa: T201
        path = os.pathsep.join((str(binaries), os.environ["PATH"]))
        return run(command, seconds=SOAK_SECONDS if "soak" in part.marks else SECONDS, environment={"PATH": path})
