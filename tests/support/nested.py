"""Run pytest under this project's conftest in a process of its own, for tests of how tests are run."""

import subprocess
import sys
from pathlib import Path

import attrs

from tests.support.deadlines import PATIENCE

PROJECT = Path(__file__).parents[2]


@attrs.frozen
class Outcome:
    """How a pytest process ended."""

    code: int
    output: str


def run_pytest(directory: Path, test: str, *, settings: str = "") -> Outcome:
    """Run one file of tests in an empty directory. `settings` is Python that overrides names of the conftest."""
    conftest = (PROJECT / "tests/conftest.py").read_text()
    (directory / "conftest.py").write_text(f"{conftest}\n{settings}\n")
    (directory / "test_it.py").write_text(test)
    configuration = ["-c", str(PROJECT / "pyproject.toml"), "--rootdir", str(directory), "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *configuration, str(directory)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=PATIENCE)
    return Outcome(done.returncode, done.stdout + done.stderr)
