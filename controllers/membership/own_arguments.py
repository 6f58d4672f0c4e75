"""Takes a secret out of the arguments of this process, which every user of the machine can read in /proc."""

import ctypes
import re
from pathlib import Path

# In /proc/PID/stat, counted after the name in parentheses: where the arguments begin and end in memory.
_BEGIN, _END = 45, 46


def hide(secret: str) -> None:
    """Overwrite it with x, in place, in each argument that is the secret."""
    raw = secret.encode(errors="surrogateescape")
    fields = Path("/proc/self/stat").read_text(errors="replace").rpartition(")")[2].split()
    begin, end = int(fields[_BEGIN]), int(fields[_END])
    if not raw or not begin < end:
        return  # the kernel does not say where they are
    arguments = ctypes.string_at(begin, end - begin)
    # Searched in a copy: a secret of nothing but x would be found in memory for ever.
    for found in re.finditer(rb"(?<![^\0])" + re.escape(raw) + rb"(?![^\0])", arguments):
        ctypes.memset(begin + found.start(), ord("x"), len(raw))
