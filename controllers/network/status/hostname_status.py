"""network.HostnameStatusController: shows the name that the kernel has for the node, and follows its changes.

The kernel notifies every process of every change, also in UTS namespaces that are not its own, and where containers
are started names are changed in those all the time. So after a change that was none here, changes are looked for with
the other looks of each second, until there were none for a minute: a change here is shown within a second then. At
other times it is shown at once.
"""

import os
import select
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import trio

from nodespan.kernel.outside_text import c_text
from nodespan.resources.network import HOSTNAME_ID, HostnameStatus, HostnameStatusSpec
from nodespan.runtime.controller import Controller, ControllerContext, exclusive
from nodespan.runtime.ticks import tick

_DIRECTORY = Path("/proc/sys/kernel")
_UNSET = "(none)"
# After so many looks without a change the kernel may wake the loop again.
_QUIET_LOOKS = 60


class HostnameStatusController(Controller):
    """Writes `hostname`."""

    name = "network.HostnameStatusController"
    outputs = (exclusive(HostnameStatus),)

    async def run(self, ctx: ControllerContext) -> None:
        """Follow the kernel."""
        with _opened("hostname") as hostname, _opened("domainname") as domainname, select.epoll() as changes:
            for file in (hostname, domainname):
                changes.register(file, select.EPOLLPRI)

            def names() -> HostnameStatusSpec:
                return split_name(_read(hostname), _read(domainname))

            def have_changed() -> bool:
                # Asking is what makes the kernel count a change as delivered, whoever asks: trio has done so to wake.
                return bool(changes.poll(0))

            # Before the first turn, which may show a later one: from here on every change is one to be told.
            known = names()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(follow_names, changes.fileno(), have_changed, names, known, ctx.wake)
                async for _ in ctx:
                    await ctx.put(HostnameStatus, HOSTNAME_ID, names())


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


async def follow_names(
    changes: int,
    have_changed: Callable[[], bool],
    names: Callable[[], HostnameStatusSpec],
    known: HostnameStatusSpec,
    wake: Callable[[], None],
) -> None:
    """Call `wake` after each change of `names` from those that are known, until cancelled.

    The file `changes` can be read once names have changed, here or elsewhere. `have_changed` says so, too, unless the
    file was waited for before, and has to be called then all the same.
    """
    quiet = _QUIET_LOOKS
    while True:
        if quiet >= _QUIET_LOOKS:
            await trio.lowlevel.wait_readable(changes)
            have_changed()
        else:
            await tick(1.0)
            if not have_changed():
                quiet += 1
                continue
        found = names()
        if found == known:
            quiet = 0
        else:
            known = found
            wake()
