"""network.HostnameSpecController: sets the kernel's host name, and restores the original later."""

import contextlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import attrs
import trio

from nodespan.controllers.common.damping import Damper
from nodespan.controllers.common.problems import Problems
from nodespan.controllers.host.host import Host, HostError
from nodespan.controllers.host.undo_gate import CONFIG_INPUT, GRACE, UndoGate
from nodespan.kernel.outside_text import bytes_of, read_line
from nodespan.resources.network import HOSTNAME_ID, HostnameSpec, HostnameSpecSpec, HostnameStatus, NetworkProblem
from nodespan.runtime.controller import Controller, ControllerContext, shared, strong, weak
from nodespan.runtime.whole_file import replace_file

_KERNEL = Path("/proc/sys/kernel")
FILE_NAME = "hostname.json"
# The kernel silently truncates longer names.
_LONGEST_DOMAIN = 64


@attrs.frozen
class Names:
    """The kernel's names of the host; the domain is "(none)" while unset."""

    hostname: str
    domainname: str


class KernelNames(Protocol):
    """Access to the kernel's two names; tests substitute their own."""

    def read(self) -> Names:
        """What they are."""
        ...

    def write(self, names: Names) -> None:
        """Set them. Raises OSError."""
        ...


class SystemNames:
    """The names of the agent's UTS namespace."""

    def read(self) -> Names:
        """What they are."""
        return Names(read_line(_KERNEL / "hostname"), read_line(_KERNEL / "domainname"))

    def write(self, names: Names) -> None:
        """Set those that differ. Raises OSError."""
        before = self.read()
        for file, old, new in (
            ("hostname", before.hostname, names.hostname),
            ("domainname", before.domainname, names.domainname),
        ):
            if old != new:
                # With a newline: the kernel ignores an empty write.
                (_KERNEL / file).write_bytes(bytes_of(new) + b"\n")


@attrs.frozen
class _Kept:
    """The names last set by others, and those set by us since."""

    original: Names
    ours: Names


class HostnameSpecController(Controller):
    """A finalizer holds the spec until the original name has been restored."""

    name = "network.HostnameSpecController"
    inputs = (
        strong(HostnameSpec),
        weak(HostnameStatus, HOSTNAME_ID),
        CONFIG_INPUT,
    )
    outputs = (shared(NetworkProblem),)

    def __init__(
        self,
        host: Host,
        directory: Path,
        *,
        leaving: trio.Event,
        grace: float = GRACE,
        names: KernelNames | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._host = host
        self._file = directory / FILE_NAME
        self._names = SystemNames() if names is None else names
        self._clock = clock
        self._damper = Damper()
        self._undo_gate = UndoGate(leaving, grace=grace)

    def left_behind(self) -> list[str]:
        """What could not be put back. Blocks."""
        return ["the host name was not restored"] if self._file.exists() else []

    async def run(self, ctx: ControllerContext) -> None:
        """Follow the spec and the kernel."""
        problems = Problems(ctx, HostnameSpec)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._undo_gate.watch, ctx)
            async for _ in ctx:
                problem = ""
                try:
                    await self._turn(ctx, sweeps=self._undo_gate.may_undo(ctx, nursery))
                except HostError as error:
                    problem = str(error)
                except OSError as error:
                    problem = f"the host name cannot be set: {error.strerror}: start the agent as root"
                await problems.show({HOSTNAME_ID: problem} if problem else {}, loud=frozenset({HOSTNAME_ID}))

    async def _turn(self, ctx: ControllerContext, *, sweeps: bool) -> None:
        resource = ctx.find(HostnameSpec, HOSTNAME_ID)
        if resource is not None and not resource.metadata.is_tearing_down:
            await ctx.add_finalizer(HostnameSpec, HOSTNAME_ID)
            await trio.to_thread.run_sync(self._apply, resource.spec)
        elif resource is not None or sweeps:
            try:
                if left := await trio.to_thread.run_sync(self._restore):
                    ctx.log.warning("the host name was changed by another program, and is left as it is", hostname=left)
            finally:
                # A name that cannot be restored must not block everything else.
                if resource is not None:
                    await ctx.remove_finalizer(HostnameSpec, HOSTNAME_ID)

    def _apply(self, spec: HostnameSpecSpec) -> None:
        if self._host.refusal:
            raise HostError(self._host.refusal)
        if self._host.commands is None:
            return  # with another root the kernel's name is not ours to set
        current = self._names.read()
        is_too_long = len(spec.domainname.encode()) > _LONGEST_DOMAIN
        keeps = is_too_long or (not spec.domainname and current.domainname == "(none)")
        self._give(Names(spec.hostname, current.domainname if keeps else spec.domainname), current)
        if is_too_long:
            raise HostError(
                f"the domain {spec.domainname} has more than the {_LONGEST_DOMAIN} bytes that the kernel takes: "
                "the host name is set without it"
            )

    def _give(self, desired: Names, current: Names) -> None:
        kept = self._read()
        if current == desired:
            return
        is_ours = kept is not None and current == kept.ours
        if kept is not None and kept.ours == desired and not self._damper.may_try(HOSTNAME_ID, self._clock()):
            raise HostError("another program keeps changing the host name: find out which, or configure no host name")
        self._write(_Kept(kept.original if kept is not None and is_ours else current, desired))
        self._names.write(desired)
        self._damper.done(HOSTNAME_ID, self._clock())

    def _restore(self) -> str:
        """Restore the name; returns the one another program has set since, "" if none has."""
        kept = self._read()
        if kept is None:
            return ""
        current = self._names.read()
        if current == kept.ours:
            self._names.write(kept.original)
        with contextlib.suppress(FileNotFoundError):
            self._file.unlink()
        return "" if current in (kept.ours, kept.original) else current.hostname

    def _read(self) -> _Kept | None:
        try:
            plain = json.loads(self._file.read_text())
            return _Kept(Names(*plain["original"]), Names(*plain["ours"]))
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise HostError(f"{self._file} is damaged: set the host name by hand, then remove the file") from error

    def _write(self, kept: _Kept) -> None:
        plain = {"original": attrs.astuple(kept.original), "ours": attrs.astuple(kept.ours)}
        replace_file(self._file, json.dumps(plain))
