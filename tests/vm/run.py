"""Run the vm tier: boot a Debian kernel under QEMU on a view of this machine and run tests/vm in it, once.

    python -m tests.vm.run [arguments for pytest]

The guest sees this machine's files read-only through 9p, which is slow for the thousands of small files that Python
opens. So the project with its virtual environment, and the standard library, go into a disk image first. The kernel is
unpacked below .cache and not installed: a test does not change what this machine boots next.

Exit code: pytest's. Where this cannot be done (no apt-get, no root to install with) every test is skipped with the
reason.
"""

# ruff: noqa: T201 (a command of its own: printing is how it speaks)

import os
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from tests.support import packages
from tests.vm.conftest import REFUSED

PROJECT = Path(__file__).resolve().parents[2]

CACHE = PROJECT / ".cache" / "vm"
RESULTS = PROJECT / ".cache" / "test"
GUEST_RESULTS = "/run/results"
JUNIT = RESULTS / "vm.xml"
PROGRESS = RESULTS / "vm.progress"

PACKAGES = (
    *("qemu-system-x86", "busybox-static", "kmod", "udev", "file", "e2fsprogs", "util-linux"),
    *("iproute2", "iputils-ping", "ethtool", "nftables", "wireguard-tools", "pci.ids", "dnsmasq-base", "etcd-server"),
)
# Its own environment, pinned: it starts the guest, nothing imports it, and its dependencies are nobody else's business.
VIRTME = "virtme-ng==1.42"
# The flavour for real machines: that for clouds lacks 9p and does not boot here.
KERNEL = "linux-image-amd64"

# Three times what it takes beside the other tiers on a busy machine.
SECONDS = 2400
TIMED_OUT = (124, 137)
MEMORY = "1G"
# What cards are plugged into, beside the first bus: ports that a bus hangs on each, a bridge to an old bus, USB.
PORTS = (
    *("pcie-root-port,id=port1,chassis=1,slot=5,addr=0x16", "pcie-root-port,id=port2,chassis=2,slot=6,addr=0x17"),
    *("pcie-root-port,id=port3,chassis=3,slot=7,addr=0x18", "pcie-pci-bridge,id=bridge,bus=port3"),
    "qemu-xhci,id=usb,addr=0x15",
)
# Each at another kind of place, for where they sit is what links are named after.
NETWORK_CARDS = (
    "virtio-net-pci,addr=0x10",
    "virtio-net-pci,addr=0x11,multifunction=on",
    "e1000e,addr=0x14",
    "virtio-net-pci,addr=0x11.1",
    "virtio-net-pci,bus=port1",
    "virtio-net-pci,bus=port2,acpi-index=3",
    "virtio-net-pci,addr=0x13,acpi-index=4",
    "e1000,bus=bridge,addr=4",
)
# Its hardware address is made up inside.
USB_CARD = "usb-net,bus=usb.0"
MAC_PREFIX = "52:54:00:aa:00:"
# Large, and not needed inside.
LEFT_OUT = (".git", ".cache", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis")
LIBRARY_LEFT_OUT = ("test", "idlelib", "ensurepip", "site-packages", "dist-packages", "config-*")


class CannotRunError(Exception):
    """This machine cannot run the tier; the text says why and what to do."""


def main(arguments: list[str]) -> int:
    # So that the guest ends with whoever ends this.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    RESULTS.mkdir(parents=True, exist_ok=True)
    JUNIT.unlink(missing_ok=True)
    PROGRESS.unlink(missing_ok=True)
    try:
        kernel = prepare()
    except CannotRunError as refusal:
        print(f"the vm tier is skipped: {refusal}", flush=True)
        return skip(str(refusal), arguments)
    with tempfile.TemporaryDirectory(prefix="nodespan-vm-", dir=CACHE) as directory:
        return boot(kernel, make_disk(Path(directory)), arguments)


def prepare() -> Path:
    """Fetch what is missing and return the kernel image. Blocks for a minute the first time."""
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


def boot(kernel: Path, disk: Path, arguments: list[str]) -> int:
    """Run the guest to its end, passing its output on, and return its exit code, which is pytest's."""
    binaries = CACHE / VIRTME / "bin"
    places = ("/dev/vda", str(PROJECT), sysconfig.get_path("stdlib"), GUEST_RESULTS)
    guest = shlex.join(("bash", str(PROJECT / "tests/vm/guest.sh"), *places, *arguments))
    options = ("-drive", f"file={disk},if=virtio,format=raw,cache=unsafe", *network_cards())
    command = [
        *("timeout", "--kill-after=10", str(SECONDS)),
        *(str(binaries / "vng"), "--run", str(kernel), "--user", "root", "--memory", MEMORY, "--cpus", "2"),
        # Where a machine is itself virtual, /dev/kvm may be there and not work; emulation always does.
        *(
            "--disable-kvm",
            "--rodir",
            str(PROJECT),
            "--rwdir",
            f"{GUEST_RESULTS}={RESULTS}",
            f"--qemu-opts={shlex.join(options)}",
        ),
        *("--", guest),
    ]
    environment = {**os.environ, "PATH": os.pathsep.join((str(binaries), os.environ["PATH"]))}
    print(f"booting {kernel.name} under QEMU", flush=True)
    # Through a pipe: QEMU opens a file that it is given as output anew and truncates it.
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as machine:
        try:
            for line in machine.stdout or ():
                print(line, end="", flush=True)
        finally:
            machine.terminate()
    if machine.returncode in TIMED_OUT:
        print(f"the guest was stopped after {SECONDS} seconds")
        print("\n  ".join(("tests that did not finish:", *unfinished(PROGRESS))))
    elif not JUNIT.exists():
        print(f"the guest did not come to testing (exit {machine.returncode}); to see it boot, give vng --verbose")
        return machine.returncode or 1
    return machine.returncode


def unfinished(progress: Path) -> list[str]:
    """The tests that a run collected and did not finish, by the progress file that tests/conftest.py writes."""
    if not progress.exists():
        return ["all: the guest did not come to collecting them"]
    notes = [line.split(" ", 1) for line in progress.read_text().splitlines()]
    finished = {name for event, name in notes if event == "finished"}
    return [name for event, name in notes if event == "collected" and name not in finished]


def network_cards() -> tuple[str, ...]:
    """QEMU's options for the guest's cards, all on one segment; tests find them by MAC, for udev renames them."""
    options = []
    for port in PORTS:
        options += ["-device", port]
    for number, card in enumerate((*NETWORK_CARDS, USB_CARD)):
        options += ["-netdev", f"hubport,id=card{number},hubid=0"]
        options += ["-device", f"{card},netdev=card{number},mac={MAC_PREFIX}{number:02x}"]
    return tuple(options)


def skip(reason: str, arguments: list[str]) -> int:
    """Let pytest say that every test of the tier is skipped, and why."""
    command = [sys.executable, "-m", "pytest", f"--junit-xml={JUNIT}", "tests/vm", *arguments]
    return subprocess.run(command, cwd=PROJECT, env={**os.environ, REFUSED: reason}).returncode


def execute(*command: str) -> str:
    """Run a command of the preparation and return what it printed; its failure is the tier's."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{shlex.join(command)}: exit {done.returncode}: {done.stderr.strip()}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
