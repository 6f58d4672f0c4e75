"""network.HostnameStatusController: shows the name that the kernel has for the node, and follows its changes."""

import os
import select
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trio

from nodespan.kernel.outside_text import c_text
from nodespan.resources.network import HOSTNAME_ID, HostnameStatus, HostnameStatusSpec
from nodespan.runtime.controller import Controller, ControllerContext, exclusive

_DIRECTORY = Path("/proc/sys/kernel")
_UNSET = "(none)"


class HostnameStatusController(Controller):
    """Writes `hostname`. The kernel notifies of changes; nothing is polled."""

    name = "network.HostnameStatusController"
    outputs = (exclusive(HostnameStatus),)

    async def run(self, ctx: ControllerContext) -> None:
        """Follow the kernel."""
        with _opened("hostname") as hostname, _opened("domainname") as domainname, select.epoll() as changes:
            for file in (hostname, domainname):
                changes.register(file, select.EPOLLPRI)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_wake_on, changes, ctx)
                async for _ in ctx:
                    await ctx.put(HostnameStatus, HOSTNAME_ID, split_name(_read(hostname), _read(domainname)))


def split_name(hostname: str, domainname: str) -> HostnameStatusSpec:
    """The kernel's two names as a status. Many machines leave the domain unset, or put it into the host's name."""
    domain = "" if domainname == _UNSET else domainname
    if not domain:
        hostname, _, domain = hostname.partition(".")
    return HostnameStatusSpec(hostname=hostname, domainname=domain)


@contextmanager
def _opened(name: str) -> Iterator[int]:
    file = os.open(_DIRECTORY / name, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield file
    finally:
        os.close(file)


def _read(file: int) -> str:
    return c_text(os.pread(file, 256, 0).strip())


async def _wake_on(changes: select.epoll, ctx: ControllerContext) -> None:
    while True:
        await trio.lowlevel.wait_readable(changes.fileno())
        # Reading is what makes the kernel count a change as delivered.
        changes.poll(0)
        ctx.wake()
