"""Entries of `machine.files` that no machine can apply: reported when they are read, and when they are applied."""

from typing import Final

from nodespan.controllers.common.quoting import quote
from nodespan.resources.config.main import MachineFile

_OPS: Final = ("create", "append", "overwrite")


def entry_error(file: MachineFile) -> str:
    """Why an entry cannot be applied anywhere, "" if it can."""
    if file.op not in _OPS:
        return f"op {quote(file.op)} is not known: write one of {', '.join(_OPS)}"
    if not file.path.startswith("/"):
        return f"{quote(file.path)} is not an absolute path: begin it with /"
    if file.path.endswith("/") or "\0" in file.path:
        return f"{quote(file.path)} is not the path of a file"
    return ""
