"""Programs whose output is the answer to a call."""

import subprocess
from collections.abc import Awaitable, Callable, Sequence

import trio

# Seconds that a program which was killed may take to be gone; one that waits for a disk takes longer.
_PATIENCE = 5.0


async def pass_output(
    command: Sequence[str], take: Callable[[bytes], Awaitable[None]], *, with_errors: bool = False
) -> int:
    """Run a program, and give `take` its output as it comes, with errors what it says on stderr too.

    Returns the exit status. The program is read no faster than `take` takes, and ends with the wait for it, however
    that ends. If this process is killed, the program ends as it finds its pipe closed: with its next output; `tail -F`
    and `journalctl -f` at once. Raises OSError if it cannot be started, and what `take` raises.
    """
    process = await trio.lowlevel.open_process(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if with_errors else None,
    )
    assert process.stdout is not None  # a pipe was asked for
    try:
        async for chunk in process.stdout:
            await take(bytes(chunk))
        return await process.wait()
    finally:
        process.kill()
        with trio.move_on_after(_PATIENCE, shield=True):
            await process.wait()
            await process.stdout.aclose()
