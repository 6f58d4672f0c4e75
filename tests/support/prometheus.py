"""Prometheus and promtool, from the package that the Makefile fetches and does not install."""

import fcntl
import subprocess
from pathlib import Path

import pytest

from tests.support.deadlines import PATIENCE

PACKAGE = Path(__file__).parents[2] / ".cache/prometheus/prometheus.deb"


def program(name: str) -> Path:
    """One of the programs of the package; skips the test where there is none. Blocks for seconds, the first time."""
    if not PACKAGE.exists():
        pytest.skip("there is no package of Prometheus: make test-unit fetches it, on Debian")
    unpacked = PACKAGE.with_suffix("")
    with open(PACKAGE) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not unpacked.exists():
            staging = unpacked.with_suffix(".new")
            subprocess.run(("dpkg", "-x", str(PACKAGE), str(staging)), check=True, timeout=PATIENCE)
            staging.rename(unpacked)
    return unpacked / "usr/bin" / name


def promtool(*arguments: str, text: str | bytes = "", cwd: Path | None = None) -> str:
    """What promtool prints, if it is content; fails with what it says otherwise."""
    data = text.encode() if isinstance(text, str) else text
    command = (str(program("promtool")), *arguments)
    done = subprocess.run(command, input=data, capture_output=True, cwd=cwd, timeout=PATIENCE, check=False)
    output = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, output
    return output
