"""A table of the packet filter that only this process can change (`flags owner`, Linux 5.12, nft 0.9.9).

The kernel binds such a table to the netlink socket that created it: `nft flush ruleset` in another process skips it,
and any other change is refused. It disappears with that socket. The socket belongs to one nft process,
which is kept running and reads a command per line, about other tables too: a small change takes it half a millisecond,
where a process of its own takes ten. The kernel reports no event when the table goes that way: `ended`
watches the process.
"""

import contextlib
import errno
import os
import selectors
import subprocess
import time
from typing import Self

import trio

from nodespan.kernel.packet_filter.nft import first_line, list_table, number_of, start

_PATIENCE = 30.0
_LONGEST_ANSWER = 1 << 16


class OwnedTable:
    """A table of family inet and the nft process that owns it. All calls but `ended` block; one at a time. Close it."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        """Takes the process over: also where this raises OSError, it has ended afterwards."""
        self._process = process
        self._pidfd = -1
        self._turn = 0
        self._output = b""
        try:
            # Until it is waited for, its number stands for no other process.
            self._pidfd = os.pidfd_open(process.pid)
        except OSError:
            self.close()
            raise

    @classmethod
    def open(cls, name: str, netns: str | None) -> Self:
        """Start nft and create the empty table. Raises OSError: nft's message, EOPNOTSUPP for an old kernel or nft."""
        # Signals of the terminal go to the agent, which then closes this in order.
        table = cls(start(("-j", "-i"), netns, stderr=subprocess.STDOUT, start_new_session=True))
        try:
            table.apply(f"add table inet {name} {{ flags owner; }}")
        except OSError as error:
            table.close()
            if error.errno == errno.EPERM:
                raise
            if list_table("inet", name, netns) is not None:
                raise OSError(errno.EEXIST, f"another program has made a table inet {name}, which stays") from error
            raise OSError(errno.EOPNOTSUPP, f"no owned tables here: {error.strerror}") from error
        return table

    @property
    def pid(self) -> int:
        """The process id of nft."""
        return self._process.pid

    @property
    def is_open(self) -> bool:
        """Whether nft still runs, and so whether the table exists."""
        return self._process.poll() is None

    async def ended(self) -> None:
        """Wait until nft has ended, and with it the table; at once after `close`. In the trio thread."""
        if self._pidfd < 0:
            return
        # One of its own, for `close` closes the other.
        pidfd = os.dup(self._pidfd)
        try:
            await trio.lowlevel.wait_readable(pidfd)
        finally:
            os.close(pidfd)

    def apply(self, command: str) -> None:
        """Run one command (one line, JSON or nft's syntax) atomically.

        Raises OSError with nft's message if it is refused, BrokenPipeError if nft has ended or was closed.
        """
        self._turn += 1
        # nft prints nothing for a command that succeeds. So a second one follows that fails with a known name.
        mark = f"nodespan-answer-{self._turn}"
        stdin = self._process.stdin
        assert stdin is not None
        if stdin.closed:
            # What is written to a closed file is a ValueError.
            raise BrokenPipeError(errno.EPIPE, "nft was closed")
        try:
            stdin.write(f"{command}\nlist table inet {mark}\n".encode())
            stdin.flush()
        except OSError as error:
            raise BrokenPipeError(errno.EPIPE, "nft has ended") from error
        answer = self._until(f"list table inet {mark}".encode()).decode(errors="replace")
        lines = [line for line in answer.split("\n") if line.strip(" ^~")]
        # The last line is the error about the unknown table.
        if len(lines) > 1:
            text = "\n".join(lines[:-1])
            raise OSError(number_of(text), f"nft refuses: {first_line(text)}")

    def _until(self, mark: bytes) -> bytes:
        stdout = self._process.stdout
        assert stdout is not None
        deadline = time.monotonic() + _PATIENCE
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            while mark not in self._output:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise TimeoutError(errno.ETIMEDOUT, f"nft does not answer within {_PATIENCE:g} s")
                data = stdout.read1(_LONGEST_ANSWER)  # type: ignore[attr-defined]
                if not data:
                    raise BrokenPipeError(errno.EPIPE, "nft has ended")
                self._output = (self._output + data)[-_LONGEST_ANSWER:]
        answer, _, self._output = self._output.partition(mark)
        return answer

    def close(self) -> None:
        """End nft, and with it the table. Never fails."""
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self._process.wait()
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1
