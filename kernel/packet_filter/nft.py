"""Runs nft, the command of the packet filter, in a network namespace. Needs CAP_NET_ADMIN."""

import errno
import subprocess
from collections.abc import Callable

from nodespan.kernel.netns import in_netns

PROGRAM = "nft"
_PATIENCE = 30.0
_FOUND_NO_TABLE = "No such file or directory"


def apply(document: str, netns: str | None, started: Callable[[int], object] = lambda _: None) -> None:
    """Apply a document atomically. Blocks for tens of milliseconds.

    `started` is called, in this thread, with nft's process id before nft gets the document.

    Raises OSError with nft's message if it is refused, FileNotFoundError if nft is not installed.
    """
    _run(("-j", "-f", "-"), netns, document, started)


def list_table(family: str, name: str, netns: str | None) -> str | None:
    """A table with its chains, sets and elements, as JSON; None if missing. Blocks; raises as `apply`."""
    try:
        return _run(("-j", "list", "table", family, name), netns, "")
    except OSError as error:
        if error.errno == errno.ENOENT and not isinstance(error, _NotInstalledError):
            return None
        raise


class _NotInstalledError(FileNotFoundError):
    pass


def start(
    arguments: tuple[str, ...],
    netns: str | None,
    *,
    stderr: int = subprocess.PIPE,
    start_new_session: bool = False,
) -> subprocess.Popen[bytes]:
    """Start nft with pipes. Raises OSError: FileNotFoundError if it is not installed, or the namespace is missing."""
    try:
        with in_netns(netns):
            # A process starts in the namespace of the thread that starts it.
            return subprocess.Popen(
                (PROGRAM, *arguments),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                start_new_session=start_new_session,
            )
    except FileNotFoundError as error:
        if netns is not None and error.filename == netns:
            raise
        raise _NotInstalledError(errno.ENOENT, "nft is not installed: install the package nftables") from error


def _run(
    arguments: tuple[str, ...], netns: str | None, document: str, started: Callable[[int], object] = lambda _: None
) -> str:
    with start(arguments, netns) as process:
        started(process.pid)
        try:
            output, errors = (
                each.decode(errors="replace") for each in process.communicate(document.encode(), timeout=_PATIENCE)
            )
        except subprocess.TimeoutExpired as error:
            process.kill()
            raise TimeoutError(errno.ETIMEDOUT, f"nft does not answer within {_PATIENCE:g} s") from error
    if process.returncode != 0:
        raise OSError(number_of(errors), f"nft refuses: {first_line(errors)}")
    return output


def number_of(errors: str) -> int:
    """The error number for nft's message."""
    for text, number in ((_FOUND_NO_TABLE, errno.ENOENT), ("Operation not permitted", errno.EPERM)):
        if text in errors:
            return number
    return errno.EINVAL


def first_line(errors: str) -> str:
    """The first error."""
    # After one invalid rule, nft reports errors for the valid ones behind it too.
    return errors.strip().partition("\n")[0]
