"""Install the Debian packages among those named that are missing: `python3 tests/support/packages.py NAME...`.

With `--fetch DIRECTORY` they are not installed, but lie there as NAME.deb afterwards: for those that would change how
this machine runs. Runs before anything else is installed, so on nothing but the standard library. What is there is
found without apt.
"""

# ruff: noqa: T201 (a command of its own: printing is how it speaks)

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

# The exit code that says: not on this machine, or not as this user.
NOT_HERE = 3


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
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    print(f"installing {' '.join(missing)}", flush=True)
    # Somebody else, another tier for one, may be installing something at the moment.
    patience = ["-o", "DPkg::Lock::Timeout=300"]
    for step in (["update"], ["install", *patience, "--yes", "--no-install-recommends", *missing]):
        done = subprocess.run(["apt-get", "-qq", *step], env=environment, capture_output=True, text=True)
        # One unreachable repository among many fails an update, and is no reason not to try.
        if done.returncode != 0 and step[0] == "install":
            raise SystemExit(f"apt-get {' '.join(step)}: exit {done.returncode}: {done.stderr.strip()}")
    return None


def fetch(directory: Path, *names: str) -> str | None:
    """Have the archives of these packages in a directory as NAME.deb; return which cannot be had, and why.

    Blocks for seconds, on the network.
    """
    missing = [name for name in names if not (directory / f"{name}.deb").exists()]
    if not missing:
        return None
    if shutil.which("apt-get") is None:
        return f"this is not Debian or a relative of it: {' '.join(missing)} cannot be fetched"
    print(f"fetching {' '.join(missing)}", flush=True)
    directory.mkdir(parents=True, exist_ok=True)
    refused = []
    for name in missing:
        # apt would rather download as a user who may not write here; a directory of its own lets it.
        with tempfile.TemporaryDirectory(dir=directory) as place:
            download = ["apt-get", "-qq", "download", name]
            done = subprocess.run(download, cwd=place, capture_output=True, text=True)
            if done.returncode != 0 and os.geteuid() == 0:
                subprocess.run(["apt-get", "-qq", "update"], capture_output=True)
                done = subprocess.run(download, cwd=place, capture_output=True, text=True)
            if done.returncode != 0:
                refused.append(f"{name} cannot be fetched: {done.stderr.strip()}")
                continue
            (archive,) = Path(place).glob("*.deb")
            archive.rename(directory / f"{name}.deb")
    return "\n".join(refused) or None


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
