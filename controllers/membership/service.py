"""The agent as a service of systemd, where there are both. All calls block."""

import os
import shutil
import subprocess

AGENT_UNIT = "nodespan.service"
DISCOVERY_UNIT = "nodespan-discovery.service"
_RUNS = "/run/systemd/system"
_LINES = "8"


class ServiceError(Exception):
    """A unit does not start. The text has the last lines of its log."""


def has_unit(unit: str) -> bool:
    """Whether systemd runs here and knows the unit."""
    if not os.path.isdir(_RUNS) or shutil.which("systemctl") is None:
        return False
    return subprocess.run(("systemctl", "cat", unit), capture_output=True, check=False).returncode == 0


def enable_and_start(*units: str) -> None:
    """Have the units started now, one after the other, and with the machine; those that run already go on.

    Raises ServiceError.
    """
    for unit in units:
        done = subprocess.run(("systemctl", "enable", "--now", unit), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ServiceError(f"{unit} cannot be started: {done.stderr.strip()}\n{_last_lines(unit)}".rstrip())


def _last_lines(unit: str) -> str:
    if shutil.which("journalctl") is None:
        return ""
    journal = ("journalctl", "--no-pager", "--output=cat", f"--lines={_LINES}", f"--unit={unit}")
    return subprocess.run(journal, capture_output=True, text=True, check=False).stdout
