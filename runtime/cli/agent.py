"""`nodespan agent`."""

import resource
import socket
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from nodespan.runtime.agent import Agent, AgentOptions
from nodespan.runtime.api.local import AlreadyServedError
from nodespan.runtime.cli.errors import CommandError
from nodespan.runtime.cli.version import own_version
from nodespan.runtime.errors import RegistrationError, leaves
from nodespan.runtime.paths import agent_socket
from nodespan.runtime.process import garbage, logs
from nodespan.runtime.state import State

if TYPE_CHECKING:
    import argparse

    from nodespan.runtime.cli.agent_options import AgentArguments


# The stacks of so many threads, 40 of trio's and 16 of `Lookups`, and what is loaded, in MiB.
_THREADS, _LOADED = 56, 192
# Of a thread's stack, in bytes, where stacks are not limited: glibc's, on all but a few processors.
_UNLIMITED_STACK = 2 * 2**20


def parse_address(text: str) -> tuple[str, int]:
    """`host:port` or `[v6]:port`. Raises CommandError."""
    host, colon, port = text.rpartition(":")
    host = host.strip("[]")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise CommandError(f"--metrics {text!r}: write it like 127.0.0.1:9600 or [::1]:9600")
    return host or "127.0.0.1", int(port)


def agent(options: "AgentArguments | argparse.Namespace") -> int:
    """Run the agent until a signal stops it."""
    _check_address_space(*(resource.getrlimit(each)[0] for each in (resource.RLIMIT_AS, resource.RLIMIT_STACK)))
    logs.configure(options.log_format, options.log_level)
    garbage.tune()
    wanted = AgentOptions(
        socket=Path(options.socket or agent_socket()),
        state_dir=Path(options.state_dir),
        config=tuple(map(Path, options.config)),
        controllers=tuple(options.controllers),
        root=Path(options.root) if options.root else None,
        cleanup=options.cleanup,
        metrics=parse_address(options.metrics) if options.metrics else None,
        state_socket=Path(options.state_socket) if options.state_socket else None,
    )
    return run_agent(Agent(wanted, version=own_version(), beside=(_keep_small,)))


def _check_address_space(limit: int, stack: int) -> None:
    """Raise CommandError for a limit in bytes that is too small for threads with stacks of this limit.

    A thread that gets no memory dies without a word to the task that waits for it, which then never ends: the agent
    hangs, and does not stop.
    """
    each = _UNLIMITED_STACK if stack == resource.RLIM_INFINITY else stack
    needed = _LOADED + _THREADS * each // 2**20
    if limit != resource.RLIM_INFINITY and limit < needed * 2**20:
        raise CommandError(
            f"the agent is limited to {limit // 2**20} MiB of address space (`ulimit -v`, LimitAS=) and may hang: its "
            f"threads reserve more than they use. Take the limit away, or give it {needed} MiB; what bounds "
            "memory is MemoryMax= of the service"
        )


async def _keep_small(_state: State) -> None:
    await garbage.keep_small()


class Lookups(trio.abc.HostnameResolver):
    """Looks names up in threads of its own, so many at a time.

    A look-up that is given up goes on in its thread for as long as the resolver waits for servers that do not answer.
    Those of many probes would leave no thread for the kernel, files and devices, which use those that all share.
    """

    def __init__(self, threads: int = 16) -> None:
        self._threads = trio.CapacityLimiter(threads)

    async def getaddrinfo(
        self,
        host: bytes | None,
        port: bytes | str | int | None,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> Any:
        """As `socket.getaddrinfo`; can be cancelled at once."""
        look_up = partial(socket.getaddrinfo, host, port, family, type, proto, flags)
        return await trio.to_thread.run_sync(look_up, limiter=self._threads, abandon_on_cancel=True)

    async def getnameinfo(self, sockaddr: Any, flags: int) -> tuple[str, str]:
        """As `socket.getnameinfo`; can be cancelled at once."""
        look_up = partial(socket.getnameinfo, sockaddr, flags)
        return await trio.to_thread.run_sync(look_up, limiter=self._threads, abandon_on_cancel=True)


def run_agent(agent: Agent) -> int:
    """Run an agent until a signal stops it. Raises CommandError for errors that the operator can fix."""

    async def run() -> None:
        trio.socket.set_custom_hostname_resolver(Lookups())
        await agent.run()

    try:
        trio.run(run)
    except (AlreadyServedError, RegistrationError, OSError) as error:
        raise CommandError(_explain(error)) from error
    except BaseExceptionGroup as group:
        # An error that stops the agent arrives wrapped by the nurseries that it passed.
        expected, unexpected = group.split((AlreadyServedError, RegistrationError, OSError))
        if unexpected is not None or expected is None:
            raise
        raise CommandError("; ".join(_explain(error) for error in leaves(expected))) from group
    return 0


def _explain(error: BaseException) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)
