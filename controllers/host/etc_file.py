"""files.EtcFileController: writes the desired files below /etc, and restores those no longer desired.

Services that read a file only at start are restarted or reloaded after it changed: `follow_up` maps files to what is
done.
"""

import errno
import os
from collections.abc import Iterable, Mapping

import attrs
import trio

from nodespan.controllers.common.problems import Problems
from nodespan.controllers.host.commands import CommandFailedError
from nodespan.controllers.host.edits import Block, Edit, Whole
from nodespan.controllers.host.host import HostError
from nodespan.controllers.host.managed_files import FORBIDDEN, ManagedFiles
from nodespan.controllers.host.polling import wake_on_change
from nodespan.controllers.host.services import CHRONY_NTS_SOURCES, CHRONY_UNITS, RESOLVED_UNIT, TIMESYNCD_UNIT, restart
from nodespan.controllers.host.undo_gate import CONFIG_INPUT, GRACE, UndoGate
from nodespan.resources.files import EtcFileSpec, EtcFileSpecSpec, EtcFileStatus, EtcFileStatusSpec
from nodespan.resources.network import NetworkProblem
from nodespan.runtime.controller import Controller, ControllerContext, exclusive, shared, strong
from nodespan.runtime.resource import format_version

# Seconds between two checks of the files, and between two retries of failures.
POLL_INTERVAL = 2.0
RETRY_INTERVAL = 60.0
# In these files only some lines are ours.
_SHARED = frozenset({"hosts", "chrony.conf", "chrony/chrony.conf"})


@attrs.frozen
class FollowUp:
    """How the readers of a file learn that it changed: a command to run, or a service to restart.

    `service` lists all names that its unit may have. `then` are commands to run after `command` if the file was
    written, not if it was restored. With `where` only a machine that has this file has readers to tell.
    """

    command: tuple[str, ...] = ()
    service: tuple[str, ...] = ()
    then: tuple[tuple[str, ...], ...] = ()
    where: str = ""


# Devices that are there already get the new rules as at boot. Nothing here waits for udev to have done it.
_UDEV = FollowUp(
    command=("udevadm", "control", "--reload"),
    then=tuple(("udevadm", "trigger", f"--type={type}", "--action=add") for type in ("devices", "subsystems")),
    where="/run/udev/control",
)


def follow_up(id: str) -> FollowUp:
    """What to do after a change of a file below /etc; for most files nothing."""
    first, _, rest = id.partition("/")
    if first == "udev":
        return _UDEV
    if first == "systemd":
        match rest.partition("/")[0]:
            case "resolved.conf.d":
                return FollowUp(service=(RESOLVED_UNIT,))
            case "timesyncd.conf.d":
                return FollowUp(service=(TIMESYNCD_UNIT,))
            case "system.conf.d":
                return FollowUp(command=("systemctl", "daemon-reload"))
    if rest.startswith("sources.d/") and first == "chrony" and id != CHRONY_NTS_SOURCES:
        return FollowUp(command=("chronyc", "reload", "sources"))
    if first in ("chrony", "chrony.conf"):
        return FollowUp(service=CHRONY_UNITS)
    return FollowUp()


def _edit(id: str, contents: bytes) -> Edit:
    return Block(contents) if id in _SHARED else Whole(contents)


@attrs.define
class _Outcome:
    """Results by file id: problems, files whose readers must be notified, and files restored."""

    problems: dict[str, str] = attrs.field(factory=dict)
    unnotified: list[str] = attrs.field(factory=list)
    gone: list[str] = attrs.field(factory=list)
    left: list[str] = attrs.field(factory=list)


class EtcFileController(Controller):
    """A finalizer holds a spec until its file has been restored."""

    name = "files.EtcFileController"
    inputs = (strong(EtcFileSpec), CONFIG_INPUT)
    outputs = (exclusive(EtcFileStatus), shared(NetworkProblem))

    def __init__(
        self,
        files: ManagedFiles,
        *,
        leaving: trio.Event,
        poll_interval: float = POLL_INTERVAL,
        retry_interval: float = RETRY_INTERVAL,
        grace: float = GRACE,
    ) -> None:
        self._files = files
        self._undo_gate = UndoGate(leaving, grace=grace)
        self._poll_interval = poll_interval
        self._retry_interval = retry_interval
        self._signature: tuple[object, ...] = ()
        # Something is to be tried again.
        self._has_failed = False
        # Files of an earlier agent alone are left as they are until they may be restored, and so not looked after.
        self._may_act = False

    async def run(self, ctx: ControllerContext) -> None:
        """Follow the specs and the files."""
        problems = Problems(ctx, EtcFileSpec)
        for damage in await trio.to_thread.run_sync(self._files.damages):
            ctx.log.error(damage)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._undo_gate.watch, ctx)
            nursery.start_soon(wake_on_change, self._needs_a_turn, self._retry_interval, ctx)
            nursery.start_soon(wake_on_change, self._has_changed, self._poll_interval, ctx)
            async for _ in ctx:
                await self._turn(ctx, problems, sweeps=self._undo_gate.may_undo(ctx, nursery))
                self._signature = await trio.to_thread.run_sync(self._files.signature, self.name)

    def _has_changed(self) -> bool:
        return self._files.signature(self.name) != self._signature

    def _needs_a_turn(self) -> bool:
        # Not by how the files were after the last turn: another program may have written them in the middle of it.
        return self._has_failed or (self._may_act and not self._files.are_as_applied(self.name, "/etc/{}".format))

    async def _turn(self, ctx: ControllerContext, problems: Problems, *, sweeps: bool) -> None:
        desired: dict[str, EtcFileSpecSpec] = {}
        versions: dict[str, str] = {}
        obsolete: set[str] = set()
        for resource in ctx.list(EtcFileSpec):
            metadata = resource.metadata
            if not metadata.is_tearing_down:
                await ctx.add_finalizer(EtcFileSpec, resource.id)
                desired[resource.id] = resource.spec
                versions[resource.id] = format_version(metadata.version)
            elif self.name in metadata.finalizers:
                obsolete.add(resource.id)
        self._may_act = bool(desired) or sweeps
        outcome = await trio.to_thread.run_sync(self._change, desired, obsolete, sweeps)
        await self._tell(outcome)
        await trio.to_thread.run_sync(self._conclude, outcome)
        self._has_failed = bool(outcome.problems or outcome.left)
        for message in outcome.left:
            ctx.log.warning(message)
        for id in obsolete:
            if id not in outcome.problems:
                await ctx.remove_finalizer(EtcFileSpec, id)
        async with ctx.tracked_outputs(EtcFileStatus):
            for id, version in versions.items():
                if id not in outcome.problems:
                    await ctx.put(EtcFileStatus, id, EtcFileStatusSpec(spec_version=version))
        await problems.show(outcome.problems, loud=frozenset(outcome.problems))

    def _change(self, desired: Mapping[str, EtcFileSpecSpec], obsolete: Iterable[str], sweeps: bool) -> _Outcome:
        """Write and restore; in a worker thread."""
        outcome = _Outcome()
        leftover = self._files.owned(self.name).keys() - desired.keys() if sweeps else set()
        for id in sorted({*obsolete, *leftover}):
            try:
                left = self._files.restore(self.name, id)
            except (HostError, OSError) as error:
                if isinstance(error, OSError) and error.errno in FORBIDDEN:
                    outcome.left.append(reason(error))
                else:
                    outcome.problems[id] = reason(error)
                continue
            if left:
                outcome.left.append(left)
            outcome.gone.append(id)
        for id, spec in desired.items():
            mode = None if id in _SHARED else spec.mode
            try:
                if self._files.apply(self.name, id, f"/etc/{id}", _edit(id, spec.contents), mode=mode):
                    outcome.unnotified.append(id)
            except (HostError, OSError) as error:
                outcome.problems[id] = reason(error)
        outcome.left += self._files.take_left(self.name)
        return outcome

    async def _tell(self, outcome: _Outcome) -> None:
        by_kind: dict[FollowUp, list[str]] = {}
        for id in (*outcome.unnotified, *outcome.gone):
            by_kind.setdefault(follow_up(id), []).append(id)
        for kind, ids in by_kind.items():
            try:
                await self._follow_up(kind, is_written=any(id in outcome.unnotified for id in ids))
            except CommandFailedError as error:
                outcome.left += [f"/etc/{id} is as it was before, but: {error}" for id in ids if id in outcome.gone]
                outcome.problems |= {id: f"it is written, but: {error}" for id in ids if id in outcome.unnotified}

    async def _follow_up(self, kind: FollowUp, *, is_written: bool) -> None:
        host = self._files.host
        if host.commands is None or (kind.where and not host.exists(kind.where)):
            return
        if kind.service:
            await restart(host, *kind.service)
        elif kind.command and (kind.command[0] != "systemctl" or host.has_systemd):
            await host.commands.run(*kind.command)
            for command in kind.then if is_written else ():
                await host.commands.run(*command)

    def _conclude(self, outcome: _Outcome) -> None:
        for id in outcome.unnotified:
            if id not in outcome.problems:
                self._files.settle(self.name, id)
        for id in outcome.gone:
            self._files.forget(self.name, id)


def reason(error: HostError | OSError) -> str:
    """An error in words for an operator."""
    if isinstance(error, OSError):
        what_to_do = ""
        if error.errno in (errno.EPERM, errno.EACCES):
            is_root = os.geteuid() == 0
            what_to_do = ": see what protects it (lsattr, mount)" if is_root else ": start the agent as root"
        return f"{error.filename or 'a file'}: {error.strerror}{what_to_do}"
    return str(error)
