"""Debian's kernel under QEMU, with network cards at chosen places: for the tests marked `hardware`.

With KVM where that works. Where it does not, the processor is emulated, which takes many times as long: so the guest
boots to nothing but what its tests need. It sees this machine's files read-only through 9p, which is slow for the
thousands of small files that Python opens. So the project with its virtual environment, and the standard library, go
into a disk image first. The kernel is unpacked below .cache and not installed: a test does not change what this machine
boots next.
"""

import os
import shutil
import subprocess
import sysconfig
import tempfile
from pathlib import Path

from tests.support import packages
from tests.vm.cards import qemu_options
from tests.vm.guests import CACHE, MEMORY, PROJECT, RESULTS, CannotRunError, Ending, Part, execute, run

PACKAGES = (
    *("qemu-system-x86", "busybox-static", "kmod", "udev", "e2fsprogs", "util-linux"),
    *("iproute2", "iputils-ping", "ethtool", "nftables", "wireguard-tools", "pci.ids", "dnsmasq-base", "etcd-server"),
)
# The flavour for real machines: that for clouds lacks 9p and does not boot here.
KERNEL = "linux-image-amd64"

# What Debian's kernel has as modules and needs to see the machine's files, with a writable layer above them.
MODULES = ("virtio_pci", "9pnet_virtio", "9p", "overlay")
COMMAND_LINE = ("console=ttyS0", "quiet", "loglevel=1", "panic=-1")
# Emulated, the kernel's check of its timer fails, and it panics, when it gets no time meanwhile; there is nothing to
# defend; and each look at another clock than the processor's is a call of the emulator.
EMULATED = ("no_timer_check", "mitigations=off", "tsc=reliable")
# The plainest processor is emulated by the least: for AVX the C library would choose what costs more than it gains.
EMULATION = ("-accel", "tcg", "-cpu", "qemu64")
KVM = ("-accel", "kvm", "-cpu", "host")

# The first process. The guest's files are this machine's below a layer in memory; the variables are the kernel's.
BEGINNING = """\
#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
{loading}
/bin/busybox mount -t 9p -o ro,version=9p2000.L,trans=virtio,msize=524288,cache=loose machine /host
/bin/busybox mount -t tmpfs over /over
/bin/busybox mkdir /over/upper /over/work
/bin/busybox mount -t overlay -o lowerdir=/host,upperdir=/over/upper,workdir=/over/work root /root
/bin/busybox umount /proc
/bin/busybox mount --move /dev /root/dev
exec /bin/busybox switch_root /root /bin/bash "$project/tests/vm/qemu.sh"
"""

# Five times what it takes emulated, on a quiet machine.
SECONDS = 1500
SOAK_SECONDS = 3 * SECONDS
# A kernel that has nothing to boot from comes to its panic within two seconds where KVM works.
PROBE_SECONDS = 20
# Large, and not needed inside: of the project and its environment, and of the standard library.
LEFT_OUT = (
    *(".git", ".cache", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", "dist", "docs", "ruff", "*.pyi"),
    *("babel", "grimp", "material", "mkdocs", "mypy", "mypyc", "*__mypyc.*", "pip", "rich", "setuptools", "textual"),
)
LIBRARY_LEFT_OUT = ("test", "idlelib", "ensurepip", "site-packages", "dist-packages", "config-*")


def prepare() -> Path:
    """Fetch what is missing and return the kernel image. Blocks for a minute the first time. Raises CannotRunError."""
    if os.uname().machine != "x86_64":
        raise CannotRunError(f"the guest is an amd64 Debian, this machine is {os.uname().machine}")
    if reason := packages.install(*PACKAGES):
        raise CannotRunError(reason)
    return fetch_kernel()


def has_kvm(kernel: Path) -> bool:
    """Whether KVM really runs a kernel. A /dev/kvm that opens says little: its guest may hang, or lack a register."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    command = [
        *("qemu-system-x86_64", *KVM, "-m", "256", "-nodefaults", "-no-reboot"),
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
    disk = directory / "disk.img"
    execute("mkfs.ext4", "-q", "-O", "^has_journal", "-m", "0", "-d", str(tree), str(disk), "1G")
    return disk


def link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or a file that is not ours to link
        shutil.copy2(source, target)


def make_initramfs(kernel: Path, directory: Path) -> Path:
    """What the kernel begins with: it finds this machine's files and goes on with tests/vm/qemu.sh."""
    version = kernel.name.removeprefix("vmlinuz-")
    loads = execute("modprobe", "--dirname", str(kernel.parents[1]), "-S", version, "--show-depends", "-a", *MODULES)
    modules = dict.fromkeys(Path(line.split()[1]) for line in loads.splitlines() if line.startswith("insmod "))
    tree = directory / "initramfs"
    for name in ("bin", "proc", "dev", "host", "over", "root"):
        (tree / name).mkdir(parents=True)
    for file in (Path("/bin/busybox"), *modules):
        shutil.copy2(file, tree / "bin" / file.name)
    loading = "\n".join(f"/bin/busybox insmod /bin/{module.name}" for module in modules)
    (tree / "init").write_text(BEGINNING.format(loading=loading))
    (tree / "init").chmod(0o755)
    packed = directory / "initramfs.cpio"
    execute("sh", "-c", 'cd "$0" && find . | busybox cpio -o -H newc >"$1"', str(tree), str(packed))
    return packed


def shared(number: int, tag: str, path: Path, more: str = "") -> tuple[str, ...]:
    """QEMU's options for a directory that the guest can mount by a tag."""
    return (
        *("-fsdev", f"local,id=files{number},path={path},security_model=none,multidevs=remap{more}"),
        *("-device", f"virtio-9p-pci,fsdev=files{number},mount_tag={tag}"),
    )


def boot(part: Part, kernel: Path, arguments: list[str], *, kvm: bool) -> Ending:
    """Run the guest to its end."""
    with tempfile.TemporaryDirectory(prefix="qemu-", dir=CACHE) as name:
        directory = Path(name)
        job = part.job(directory, arguments)
        variables = {
            "project": PROJECT,
            "library": sysconfig.get_path("stdlib"),
            "modules": kernel.parents[1] / "lib" / "modules",
            "job": job,
        }
        # Emulated processors wait for each other, and for those of this machine, which have other tests to run.
        processors = "2" if kvm or "soak" in part.marks else "1"
        words = (*COMMAND_LINE, *(() if kvm else EMULATED))
        command = [
            *("qemu-system-x86_64", "-machine", "q35", *(KVM if kvm else EMULATION), "-smp", processors, "-m", MEMORY),
            *("-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio"),
            *("-kernel", str(kernel), "-initrd", str(make_initramfs(kernel, directory))),
            *("-append", " ".join((*words, *(f"{name}={value}" for name, value in variables.items())))),
            *("-drive", f"file={make_disk(directory)},if=virtio,format=raw,cache=unsafe"),
            *(*shared(0, "machine", Path("/"), ",readonly=on"), *shared(1, "results", RESULTS), *qemu_options()),
        ]
        print(f"booting {kernel.name} under QEMU, {'by KVM' if kvm else 'emulated'}", flush=True)  # noqa: T201
        return part.ended(run(command, seconds=SOAK_SECONDS if "soak" in part.marks else SECONDS))
