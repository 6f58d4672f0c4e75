"""Texts of the kernel that need not be text: names of links, aliases, hosts and processes are bytes to it.

They are shown escaped, each as itself, so that two names are never shown as one and each can be found again.
"""

import functools
import os
import re
from pathlib import Path

_ESCAPE = re.compile(rb"\\x([0-9a-f]{2})")


@functools.lru_cache(maxsize=1 << 10)  # the same names come with every message about a link
def c_text(data: bytes) -> str:
    """The text before the first NUL. What is not text, or not fit for a terminal, is escaped: `\\xff`.

    Two names are never shown as one, so what looks like an escape is escaped too; `bytes_of` is the way back.
    """
    raw = data.partition(b"\0")[0]
    if b"\\" in raw:
        raw = _ESCAPE.sub(rb"\\x5cx\1", raw)
    text = raw.decode("utf-8", "backslashreplace")
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else _escaped(each) for each in text)


def _escaped(character: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in character.encode())


def bytes_of(text: str) -> bytes:
    """The bytes that `c_text` shows as this."""
    return _ESCAPE.sub(lambda found: bytes.fromhex(found[1].decode()), text.encode())


def file_name(text: str) -> str:
    """What a name that `c_text` shows as this is called as a file, in sysfs or /proc."""
    return os.fsdecode(bytes_of(text))


def read_line(path: Path) -> str:
    """The one line of a file of the kernel. Raises OSError."""
    return c_text(path.read_bytes().strip())
