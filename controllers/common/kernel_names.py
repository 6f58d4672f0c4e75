"""How kernel parameters, modules and their parameters are written."""

import posixpath
import re
from typing import Final

MODULE_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,63}")
MODULE_PARAMETER: Final = re.compile(r"[A-Za-z0-9_][^\s=]*(=\S.*)?", re.DOTALL)
_SWAPPED: Final = str.maketrans("./", "/.")


def file_of_parameter(name: str) -> str:
    """The file that a parameter is, relative to /proc/sys or /sys; "" if the name is that of none.

    The first separator decides how the name is read: a `/` makes it a path, with a `.` the two are swapped. So
    `net.ipv6.conf.eth0/103.disable_ipv6` and `net/ipv6/conf/eth0.103/disable_ipv6` are one file. No `..` leads out.
    """
    first = next((letter for letter in name if letter in "./"), "")
    path = name.translate(_SWAPPED) if first == "." else name
    cleaned = posixpath.normpath(f"/{path}").lstrip("/")
    return "" if not cleaned or cleaned == "." or "\0" in cleaned else cleaned
