"""The kernel's bonding driver, as a module that may have to be loaded.

Loaded by the kernel itself, when the first bond is made, it makes a `bond0` of its own that nobody asked for.
"""

import contextlib
import subprocess
from pathlib import Path

_LOADED = Path("/sys/module/bonding")
_PATIENCE = 10.0


def load_bonding() -> None:
    """Have the driver loaded without a bond of its own, as far as that can be done. Blocks."""
    if _LOADED.exists():
        return
    # Without the command, or without modules, making the bond loads the driver or tells why not.
    with contextlib.suppress(FileNotFoundError, subprocess.TimeoutExpired):
        subprocess.run(("modprobe", "bonding", "max_bonds=0"), check=False, capture_output=True, timeout=_PATIENCE)
