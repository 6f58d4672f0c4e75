"""The standard streams of a command: closed ones are replaced, and output that cannot be written is an error."""

import contextlib
import io
import os
import sys
from typing import IO, Any, TextIO

from nodespan.runtime.text.escaping import escaped

# What errors are laid out with.
_KEPT = "\n\t"
# A parent may close any of them. What stands in their place fails as a closed one does, except for stderr: a command
# without it is silent. Without a replacement the next file or socket would get the number, and the output.
_CLOSED = (("stdin", 0, "r", os.O_WRONLY), ("stdout", 1, "w", os.O_RDONLY), ("stderr", 2, "w", os.O_WRONLY))


def prepare() -> None:
    """Replace closed streams, have output written whole, and escape what the terminal's character set lacks."""
    for name, number, mode, flags in _CLOSED:
        if getattr(sys, name) is None:
            setattr(sys, name, _replacement(number, mode, flags))
    _write_whole()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _write_whole() -> None:
    """Have what the system does not take of standard output at once written again, or raised as an error.

    With PYTHONUNBUFFERED nothing does: of a full disk or of a pipe that does not block, the rest is dropped silently.
    Each line is still written at once.
    """
    output = sys.stdout
    if isinstance(output, io.TextIOWrapper) and isinstance(output.buffer, io.RawIOBase):
        # A file of its own, for the one that stays in sys.__stdout__ is closed by whoever owns it.
        sys.stdout = open(  # noqa: SIM115
            output.fileno(), "w", buffering=1, encoding=output.encoding, errors=output.errors, closefd=False
        )


def _replacement(number: int, mode: str, flags: int) -> IO[Any]:
    opened = os.open(os.devnull, flags)
    if opened != number:
        try:
            os.fstat(number)
        except OSError:
            os.dup2(opened, number)
            os.close(opened)
            opened = number
    return open(opened, mode, closefd=False)


def finish() -> str:
    """Flush the output; returns why it cannot be written, "" if it can or if its reader has seen enough."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        discard(sys.stdout)
    except OSError as error:
        discard(sys.stdout)
        return explain(error)
    return ""


def give_up(error: OSError) -> int:
    """Standard output cannot be written: the exit status, which is 0 if its reader has seen enough."""
    discard(sys.stdout)
    if isinstance(error, BrokenPipeError):
        return 0
    report(explain(error))
    return 1


def report(text: str) -> None:
    """Write an error; without a place for it, the exit status has to do."""
    try:
        sys.stderr.write(f"nodespan: {escaped(text, keep=_KEPT)}\n")
        sys.stderr.flush()
    except OSError:
        discard(sys.stderr)


def explain(error: OSError) -> str:
    """An error of the system as a text for the user. Only output comes without a file name."""
    reason = error.strerror or str(error)
    return f"cannot write the output: {reason}" if error.filename is None else f"{error.filename}: {reason}"


def discard(stream: TextIO) -> None:
    """Drop what is buffered and what follows: the interpreter flushes again at its exit, and would complain."""
    with contextlib.suppress(io.UnsupportedOperation):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
