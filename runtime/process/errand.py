"""Errands: what is needed rarely and takes a large library is done by a process of its own, which ends with it.

    answer = await errand("nodespan.example.paperwork:stamp", request)

The process is this program again, by the same interpreter, from the same place and of the same user. The request goes
to its standard input and the answer comes by its standard output: neither is ever in arguments, in the environment or
in a file. It inherits nothing else, leaves no core dump, and is gone when the call returns or raises. A start takes
0.1 to 0.3 seconds of a processor.
"""

import math
import subprocess
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from nodespan.runtime.process import errand_runner
from nodespan.runtime.process.errand_runner import DONE, LARGEST, REFUSED, REPLACED, SIZE_BYTES, ErrandRefusedError
from nodespan.runtime.process.own_command import own_command

# Who does errands: this module's `errand`, or a test, which calls the function.
Errand = Callable[[str, bytes], Awaitable[bytes]]

PATIENCE: Final = 30.0
# Seconds that a process which was killed may take to be gone.
_END = 5.0
# Of what it says before it has the request: the last line is why it could not start.
_KEPT_ERRORS = 4096
_STAMP: Final = errand_runner.stamp()


class ErrandError(Exception):
    """The errand was not done. The text says why, and nothing of the request."""


class ErrandAccidentError(ErrandError):
    """The process was killed, could not be started or did not answer: the next one may do better."""


async def errand(function: str, request: bytes, *, within: float = PATIENCE) -> bytes:
    """Have a new process call a function, MODULE:NAME from bytes to bytes, and return what that returns.

    Waits for at most `within` seconds. Cancelling kills the process. Calls at the same time have a process each. Raises
    ErrandRefusedError if the function does, ErrandAccidentError if the process had an accident, and ErrandError for
    everything else that goes wrong.
    """
    if len(request) > LARGEST:
        raise ErrandError(f"the request has more than {LARGEST} bytes")
    # Its own limit is for the case that this process is gone by then.
    command = (*own_command(errand_runner.__name__), function, _STAMP, str(math.ceil(within) + 1))
    try:
        with trio.fail_after(within):
            status, output, errors = await _run(command, len(request).to_bytes(SIZE_BYTES, "big") + request)
    except trio.TooSlowError as error:
        raise ErrandAccidentError(f"the process that was to do it did not answer within {within:g} s") from error
    except OSError as error:
        raise ErrandAccidentError(f"the process that was to do it cannot be started: {error.strerror}") from error
    kind, content = output[:1], output[1:]
    if len(content) > LARGEST:
        raise ErrandError(f"the answer has more than {LARGEST} bytes")
    if status == 0 and kind == DONE:
        return content
    if status == 0 and kind == REFUSED:
        raise ErrandRefusedError(content.decode())
    if kind == REPLACED:
        raise ErrandError("this program was installed again while it ran: restart it")
    if status == 0 and content:
        raise ErrandError(f"the process that was to do it failed: {content.decode()}")
    last = errors.decode(errors="replace").strip().rpartition("\n")[2]
    reason = f"{last}: if this program was installed again while it ran, restart it" if last else f"status {status}"
    # By a signal: of the kernel that is short of memory, its own alarm, an operator.
    kind_of_error = ErrandAccidentError if status < 0 else ErrandError
    raise kind_of_error(f"the process that was to do it ended without an answer: {reason}")


async def _run(command: tuple[str, ...], request: bytes) -> tuple[int, bytes, bytes]:
    """Run a command with an input; returns its status, output and errors."""
    process = await trio.lowlevel.open_process(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # What is typed at the agent's terminal is for the agent.
        start_new_session=True,
    )
    assert process.stdin is not None  # pipes were asked for
    assert process.stdout is not None
    assert process.stderr is not None
    stdin, stdout, stderr = process.stdin, process.stdout, process.stderr
    output, errors = bytearray(), bytearray()

    async def feed() -> None:
        try:
            async with stdin:
                await stdin.send_all(request)
        except trio.BrokenResourceError:
            return  # it ended before it had read all, and its output or status says why

    async def take(stream: trio.abc.ReceiveStream, into: bytearray, most: int) -> None:
        async for chunk in stream:
            into += chunk[: max(most - len(into), 0)]

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(feed)
            nursery.start_soon(take, stderr, errors, _KEPT_ERRORS)
            await take(stdout, output, LARGEST + 2)
            # What it printed before it began is complete, and nothing holds its errors open but itself.
            status = await process.wait()
    finally:
        process.kill()
        with trio.move_on_after(_END, shield=True):
            await process.wait()
        for stream in (stdin, stdout, stderr):
            await trio.aclose_forcefully(stream)
    return status, bytes(output), bytes(errors)
