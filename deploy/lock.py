"""`python -m deploy.lock`: renews requirements.txt, the wheels that packages contain, from pyproject.toml.

Asks pip what it would install, for each version of Python and each architecture.
"""

import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from deploy.epoch import PROJECT
from deploy.wheels import LOCK, PYTHONS, target

_HEAD = "# The dependencies in the packages. Made by `python -m deploy.lock`; `make packages` installs exactly these.\n"


def main() -> None:
    """Write the lock file."""
    versions: dict[str, str] = {}
    digests: defaultdict[str, set[str]] = defaultdict(set)
    for architecture in ("amd64", "arm64"):
        for python in PYTHONS:
            for name, version, digest in _resolved(architecture, python, versions):
                versions[name] = version
                digests[name].add(digest)
    lines = [_HEAD]
    for name in sorted(versions):
        hashes = " \\\n    ".join(f"--hash=sha256:{digest}" for digest in sorted(digests[name]))
        lines.append(f"{name}=={versions[name]} \\\n    {hashes}\n")
    LOCK.write_text("".join(lines))


def _resolved(architecture: str, python: str, known: dict[str, str]) -> list[tuple[str, str, str]]:
    """Name, version and digest of each wheel; those known already keep their versions."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--dry-run"]
    command += ["--ignore-installed", "--only-binary=:all:", "--target", "unused", "--report", "-"]
    command += [*target(architecture, python), str(PROJECT), *(f"{name}=={known[name]}" for name in known)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = []
    for item in json.loads(done.stdout)["install"]:
        archive = item["download_info"].get("archive_info")
        if archive is not None:
            digest = archive["hashes"]["sha256"]
            found.append((item["metadata"]["name"].lower(), item["metadata"]["version"], digest))
    return found


if __name__ == "__main__":
    assert Path(LOCK).parent.is_dir()
    main()
