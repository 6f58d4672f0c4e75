"""What the guests of the vm tier have in common: how they are run, and how a run ends."""

import os
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path

import attrs

from tests.support import progress
from tests.support.deadlines import IN_GUEST

PROJECT = Path(__file__).resolve().parents[2]
CACHE = PROJECT / ".cache" / "vm"
RESULTS = PROJECT / ".cache" / "test"
# Where a guest sees the results' directory, which is all that it can write to.
GUEST_RESULTS = "/run/results"

MEMORY = "1G"
_TIMED_OUT = (124, 137)


class CannotRunError(Exception):
    """This machine cannot run the guest; the text says why and what to do."""


@attrs.frozen
class Part:
    """Those tests of the tier that run in one guest, and the files of their results."""

    name: str
    # For pytest's -m.
    marks: str

    @property
    def junit(self) -> Path:
        """The report."""
        return RESULTS / f"{self.name}.xml"

    @property
    def progress(self) -> Path:
        """The progress file, as tests.support.progress writes it."""
        return RESULTS / f"{self.name}.progress"

    @property
    def started(self) -> Path:
        """A file that the guest makes once it runs."""
        return RESULTS / f"{self.name}.started"

    @property
    def code(self) -> Path:
        """A file with the exit code of what ran in the guest."""
        return RESULTS / f"{self.name}.code"

    def begin(self) -> None:
        """Remove what an earlier run left."""
        RESULTS.mkdir(parents=True, exist_ok=True)
        for file in (self.junit, self.progress, self.started, self.code):
            file.unlink(missing_ok=True)

    def job(self, directory: Path, arguments: list[str]) -> Path:
        """A script in this directory: all that the guest does once it runs."""
        script = directory / "job"
        results = Path(GUEST_RESULTS)
        lines = (
            f"touch {results / self.started.name}",
            self.command(arguments),
            f"echo $? >{results / self.code.name}",
        )
        script.write_text("\n".join(lines) + "\n")
        return script

    def ended(self, ending: "Ending") -> "Ending":
        """The guest's own end says nothing of how its job ended: with the code of that, if it came to its end."""
        return attrs.evolve(ending, code=int(self.code.read_text())) if self.code.exists() else ending

    def command(self, arguments: list[str]) -> str:
        """What the guest runs, for a shell: pytest with these arguments, and nothing that it does not need."""
        results = Path(GUEST_RESULTS)
        settings = (
            *("env", f"{IN_GUEST}=1", "TERM=dumb", "PYTHONDONTWRITEBYTECODE=1"),
            f"{progress.VARIABLE}={results / self.progress.name}",
        )
        # Where a processor is emulated, each plugin takes its second, and tests take longer than elsewhere.
        options = (
            *("-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:hypothesispytest"),
            *("-o", "faulthandler_timeout=800", f"--junit-xml={results / self.junit.name}", "-m", self.marks),
        )
        return shlex.join((*settings, ".venv/bin/python", "-m", "pytest", *options, *arguments))


@attrs.frozen
class Ending:
    """How a guest ended: its exit code, whether it was stopped for taking too long, and the end of its output."""

    code: int
    timed_out: bool
    last_words: str


def run(command: list[str], *, seconds: float, environment: Mapping[str, str] | None = None) -> Ending:
    """Run a guest to its end, passing its output on. Blocks; the guest ends with this process's exceptions."""
    limited = ["timeout", "--kill-after=10", str(seconds), *command]
    kept: list[str] = []
    # Through a pipe: QEMU opens a file that it is given as output anew and truncates it.
    with subprocess.Popen(
        limited,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as machine:
        try:
            for line in machine.stdout or ():
                print(line.rstrip("\r\n"), flush=True)  # noqa: T201 (the output of a command)
                kept = [*kept[-4:], line.strip()]
        finally:
            machine.terminate()
    return Ending(machine.returncode, machine.returncode in _TIMED_OUT, " / ".join(filter(None, kept)))


def execute(*command: str) -> str:
    """Run a command of the preparation and return what it printed; its failure is the tier's."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{shlex.join(command)}: exit {done.returncode}: {done.stderr.strip()}")
    return done.stdout
