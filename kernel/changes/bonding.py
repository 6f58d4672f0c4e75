"""Loads the kernel's bonding driver without a bond of its own.

If the kernel loads it on demand, when the first bond is created, the driver creates a `bond0` that is not configured.
"""

import contextlib
import subprocess
from pathlib import Path

_LOADED = Path("/sys/module/bonding")
_PATIENCE = 10.0


def load_bonding() -> None:
    """Load the driver without a bond of its own, where possible. Blocks."""
    if _LOADED.exists():
        return
    # Without modprobe or without modules, creating the bond loads the driver or reports the reason.
    with contextlib.suppress(FileNotFoundError, subprocess.TimeoutExpired):
        subprocess.run(("modprobe", "bonding", "max_bonds=0"), check=False, capture_output=True, timeout=_PATIENCE)
