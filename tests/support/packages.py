"""Install the Debian packages among those named that are missing: `python3 tests/support/packages.py NAME...`.

With `--fetch DIRECTORY` they are not installed, but lie there as NAME.deb afterwards: for those that would change how
this machine runs. Runs before anything else is installed, so on nothing but the standard library. What is there is
found without apt.
"""

# ruff: noqa: T201 (a command of its own: printing is how it speaks)

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

# The exit code that says: not on this machine, or not as this user.
NOT_HERE = 3
ROOT = Path("/")
# How long one call may fetch, in seconds: what needs it is skipped without it, and all other tests wait for it.
LIMIT = 300.0
# apt itself gives up only on a server that says nothing, and late.
_HASTE = ("-o", "Acquire::Retries=1", "-o", "Acquire::http::Timeout=20", "-o", "Acquire::https::Timeout=20")
# The lines of apt that tell how far it is.
_PROGRESS = ("Get:", "Fetched", "Unpacking", "Setting up")
# Asked by the scripts of packages before they start a service (invoke-rc.d, deb-systemd-invoke): 101 forbids it.
_POLICY = "#!/bin/sh\n# of nodespan, while it installs packages\nexit 101\n"


def install(*names: str) -> str | None:
    """Make sure that these packages are installed; if this machine does not let us, return why and what to do.

    Blocks for minutes. Raises SystemExit if apt could have done it and failed.
    """
    if shutil.which("apt-get") is None:
        return f"this is not Debian or a relative of it; install what it calls {' '.join(names)}"
    missing = [name for name in names if not _installed(name)]
    if not missing:
        return None
    if os.geteuid() != 0:
        return f"missing packages; run as root: apt-get install --no-install-recommends {' '.join(missing)}"
    # Another tier may be at it. apt waits for that with some of its steps, and fails with others.
    with open(__file__) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _install([name for name in missing if not _installed(name)])
    return None


def _install(missing: list[str]) -> None:
    if not missing:
        return
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    print(f"installing {' '.join(missing)}", flush=True)
    # Another program may be installing something at the moment.
    patience = ["-o", "DPkg::Lock::Timeout=300"]
    # One unreachable repository among many fails an update, and is no reason not to try.
    _run(["apt-get", "-q", "update"], environment)
    command = ["apt-get", "-q", *patience, "install", "--yes", "--no-install-recommends", *missing]
    with no_services():
        status, errors = _run(command, environment)
    if status != 0:
        raise SystemExit(f"{' '.join(command)}: exit {status}: {errors}")


def _run(command: list[str], environment: dict[str, str]) -> tuple[int, str]:
    """Run apt, with its progress shown; returns the status and the errors."""
    with tempfile.TemporaryFile("w+") as errors:
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True) as apt:
            assert apt.stdout is not None
            for line in apt.stdout:
                if line.startswith(_PROGRESS):
                    print(f"  {line.rstrip()}", flush=True)
        errors.seek(0)
        return apt.returncode, errors.read().strip()


@contextlib.contextmanager
def no_services() -> Iterator[None]:
    """Services of packages that are installed within the block are neither started nor left enabled.

    They are for tests and clusters, which run them by themselves: an etcd of the machine is not asked for.
    """
    policy = ROOT / "usr/sbin/policy-rc.d"
    if policy.exists() and policy.read_text() == _POLICY:
        policy.unlink()  # left by a run that was killed
    forbids = not policy.exists()
    if forbids:
        policy.parent.mkdir(parents=True, exist_ok=True)
        policy.write_text(_POLICY)
        policy.chmod(0o755)
    before = _enabled()
    try:
        yield
    finally:
        if forbids:
            policy.unlink(missing_ok=True)
        for link in _enabled() - before:
            if link.parent.match("rc?.d"):
                # Packages see the K links as the administrator's decision, and keep to it at upgrades.
                link.rename(link.with_name(f"K01{link.name[3:]}"))
            else:
                link.unlink()


def _enabled() -> set[Path]:
    """The links that start something with the machine."""
    units = ROOT / "etc/systemd/system"
    found = {*units.glob("*.wants/*"), *units.glob("*.requires/*"), *units.glob("*.*"), *ROOT.glob("etc/rc?.d/S*")}
    return {path for path in found if path.is_symlink()}


def fetch(directory: Path, *names: str) -> str | None:
    """Have the archives of these packages in a directory as NAME.deb; return which cannot be had, and why.

    Blocks on the network, for `LIMIT` seconds at most, and for as long if another tier is at it.
    """
    missing = [name for name in names if not (directory / f"{name}.deb").exists()]
    if not missing:
        return None
    if shutil.which("apt-get") is None:
        return f"this is not Debian or a relative of it: {' '.join(missing)} cannot be fetched"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        # Another tier may be at the same, or install something: its `update` takes the lists away for a moment.
        with open(__file__) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            return _fetch(directory, [name for name in missing if not (directory / f"{name}.deb").exists()])
    except PermissionError as error:
        # Root made the directory.
        return f"{' '.join(missing)} cannot be fetched: {error}"


def _fetch(directory: Path, missing: list[str]) -> str | None:
    if not missing:
        return None
    print(f"fetching {' '.join(missing)}", flush=True)
    ends = time.monotonic() + LIMIT
    # Each call of apt reads all its lists, which takes longer than most archives. One name that it refuses refuses all.
    reason = _download(directory, missing, ends)
    if reason and os.geteuid() == 0:
        _apt_get("update", place=str(directory), ends=ends)
        reason = _download(directory, missing, ends)
    if not reason:
        return None
    reasons = [(name, _download(directory, [name], ends)) for name in missing]
    return "\n".join(f"{name} cannot be fetched: {reason}" for name, reason in reasons if reason) or None


def _download(directory: Path, names: list[str], ends: float) -> str | None:
    """Have these archives in the directory, or none of them and the reason."""
    # apt would rather download as a user who may not write here; a directory of its own lets it.
    with tempfile.TemporaryDirectory(dir=directory, ignore_cleanup_errors=True) as place:
        reason = _apt_get("download", *names, place=place, ends=ends)
        if reason is None:
            for archive in Path(place).glob("*.deb"):
                archive.rename(directory / f"{archive.name.partition('_')[0]}.deb")
        return reason


def _apt_get(*arguments: str, place: str, ends: float) -> str | None:
    """Why it failed, if it did. It is killed at that time of the monotonic clock."""
    # Of a file: with a pipe, what apt has started would keep us waiting after it was killed.
    with tempfile.TemporaryFile("w+") as errors:
        try:
            left = max(ends - time.monotonic(), 0)
            subprocess.run(
                ["apt-get", "-qq", *_HASTE, *arguments],
                cwd=place,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                check=True,
                timeout=left,
            )
        except subprocess.TimeoutExpired:
            return f"it took longer than {LIMIT:g} s"
        except subprocess.CalledProcessError as error:
            errors.seek(0)
            return errors.read().strip() or f"apt-get ended with {error.returncode}"
    return None


def _installed(name: str) -> bool:
    query = ["dpkg-query", "--show", "--showformat=${db:Status-Status}", name]
    return subprocess.run(query, capture_output=True, text=True).stdout == "installed"


if __name__ == "__main__":
    if sys.argv[1:2] == ["--fetch"]:
        reason = fetch(Path(sys.argv[2]), *sys.argv[3:])
    else:
        reason = install(*sys.argv[1:])
    if reason:
        print(reason, file=sys.stderr)
        sys.exit(NOT_HERE)
