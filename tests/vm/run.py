"""Run the vm tier: boot guests with kernels of their own on a view of this machine, and run tests/vm in them, once.

    python -m tests.vm.run [arguments for pytest]

The tests marked `hardware` need network cards, or WireGuard in the kernel: they run under QEMU. All others run there
too where KVM works. Where it does not, as where a machine is itself virtual, they run under User Mode Linux: emulating
a processor takes three times as long and more.

Exit code: pytest's. Where a guest cannot be had (no apt-get, no root to install with) each of its tests is skipped with
the reason.
"""

# ruff: noqa: T201 (a command of its own: printing is how it speaks)

import argparse
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.progress import unfinished
from tests.vm import qemu, uml
from tests.vm.conftest import REFUSED
from tests.vm.guests import PROJECT, CannotRunError, Ending, Part

NOTHING_SELECTED = int(pytest.ExitCode.NO_TESTS_COLLECTED)


def main(arguments: list[str]) -> int:
    # So that the guest ends with whoever ends this.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("-m", dest="marks", default="")
    options, rest = parser.parse_known_args(arguments)
    asked = f"({options.marks}) and " if options.marks else ""
    codes = [run(Part("vm", f"{asked}not hardware"), rest), run(Part("hardware", f"{asked}hardware"), rest)]
    ran = [code for code in codes if code != NOTHING_SELECTED]
    return max(ran, default=NOTHING_SELECTED)


def run(part: Part, arguments: list[str]) -> int:
    """Run one part and return pytest's exit code, or 1 where the guest did not come to its end."""
    part.begin()
    # Here, and not in the guest, pytest also compiles the tests; the guest finds the result beside them.
    files = collect(part, arguments)
    if not files:
        return NOTHING_SELECTED
    chosen = [*files, *arguments]
    try:
        ending = boot(part, chosen)
        if not ending.timed_out and not part.started.exists():
            # What ended before it ran anything of ours, a kernel that panics as it boots, has tested nothing yet.
            print(f"the guest ended before it ran anything (exit {ending.code}): once more", flush=True)
            ending = boot(part, chosen)
    except CannotRunError as refusal:
        print(f"these tests of the vm tier are skipped ({part.marks}): {refusal}", flush=True)
        return skip(part, str(refusal), arguments)
    finally:
        part.started.unlink(missing_ok=True)
    if ending.timed_out:
        print("the guest was stopped, for it took too long")
    elif part.junit.exists():
        return ending.code
    else:
        print(f"the guest did not come to the end of testing (exit {ending.code})")
    print("\n  ".join(("tests that did not finish:", *unfinished(part.progress))))
    return ending.code or 1


def boot(part: Part, arguments: list[str]) -> Ending:
    """Boot the guest that the part needs and can have here."""
    if part.name == "hardware":
        kernel = qemu.prepare()
        return qemu.boot(part, kernel, arguments, kvm=qemu.has_kvm(kernel))
    if Path("/dev/kvm").exists() and qemu.has_kvm(kernel := qemu.prepare()):
        return qemu.boot(part, kernel, arguments, kvm=True)
    uml.prepare()
    return uml.boot(part, arguments)


def collect(part: Part, arguments: list[str]) -> list[str]:
    """The files with tests of the part among those asked for; the guest imports no others."""
    # Whatever is to be said of the run, the collection says one line for each file.
    asked = [argument for argument in arguments if not re.fullmatch("-(v+|q+)|--verbose|--quiet", argument)]
    command = [sys.executable, "-m", "pytest", "-qq", "--collect-only", "-m", part.marks, "tests/vm", *asked]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True)
    if done.returncode not in (0, NOTHING_SELECTED):
        raise SystemExit(f"{done.stdout}{done.stderr}")
    return list(dict.fromkeys(re.findall(r"^(tests/vm/\S+?\.py):", done.stdout, re.MULTILINE)))


def skip(part: Part, reason: str, arguments: list[str]) -> int:
    """Let pytest say that every test of the part is skipped, and why."""
    command = [sys.executable, "-m", "pytest", f"--junit-xml={part.junit}", "-m", part.marks, "tests/vm", *arguments]
    return subprocess.run(command, cwd=PROJECT, env={**os.environ, REFUSED: reason}).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
