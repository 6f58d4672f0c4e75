"""files.MachineFileController: applies `machine.files`, and restores files no longer listed.

secrets.TrustedRootsController handles what is appended to the bundle of certificate authorities.
"""

from typing import TYPE_CHECKING

import attrs
import trio

from nodespan.controllers.host.etc_file import POLL_INTERVAL, RETRY_INTERVAL, reason
from nodespan.controllers.host.host import HostError
from nodespan.controllers.host.managed_files import ManagedFiles
from nodespan.controllers.host.polling import wake_on_change
from nodespan.controllers.host.trust_rules import file_entry_name, is_trust
from nodespan.controllers.host.undo_gate import CONFIG_INPUT, GRACE, UndoGate
from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig
from nodespan.resources.config.main import MachineFile
from nodespan.resources.files import MachineFileStatus, MachineFileStatusSpec, machine_file_id
from nodespan.resources.trust import TrustedRoot
from nodespan.runtime.controller import Controller, ControllerContext, exclusive, weak

if TYPE_CHECKING:
    from nodespan.controllers.host.machine_file_rules import FilePlan


@attrs.define
class _Outcome:
    """Errors by entry position, and messages about files left as others changed them."""

    errors: dict[int, str]
    left: list[str] = attrs.field(factory=list)


class MachineFileController(Controller):
    """Writes a status for each entry. An entry that cannot be applied does not block the others."""

    name = "files.MachineFileController"
    inputs = (CONFIG_INPUT, weak(TrustedRoot))
    outputs = (exclusive(MachineFileStatus),)

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
        # Without a configuration nothing is done, and so nothing again.
        self._may_act = False

    async def run(self, ctx: ControllerContext) -> None:
        """Follow the configuration and the files."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._undo_gate.watch, ctx)
            nursery.start_soon(wake_on_change, self._needs_a_turn, self._retry_interval, ctx)
            nursery.start_soon(wake_on_change, self._has_changed, self._poll_interval, ctx)
            async for _ in ctx:
                may_undo = self._undo_gate.may_undo(ctx, nursery)
                config = ctx.find(MachineConfig, MACHINE_CONFIG_ID)
                # The configuration lists everything desired, so there is nothing to wait for.
                self._may_act = config is not None or may_undo
                if self._may_act:
                    await self._turn(ctx, () if config is None else config.spec.machine.files)
                self._signature = await trio.to_thread.run_sync(self._files.signature, self.name)

    def _has_changed(self) -> bool:
        return self._files.signature(self.name) != self._signature

    def _needs_a_turn(self) -> bool:
        # Not by how the files were after the last turn: another program may have written them in the middle of it.
        return self._may_act and (self._has_failed or not self._files.are_as_applied(self.name, str))

    async def _turn(self, ctx: ControllerContext, entries: tuple[MachineFile, ...]) -> None:
        from nodespan.controllers.host.machine_file_rules import plan_files

        plan = plan_files((index, file) for index, file in enumerate(entries) if not is_trust(file))
        outcome = await trio.to_thread.run_sync(self._change, plan)
        self._has_failed = bool(outcome.errors or outcome.left)
        for message in outcome.left:
            ctx.log.warning(message)
        async with ctx.tracked_outputs(MachineFileStatus):
            for index, file in enumerate(entries):
                id, before = machine_file_id(index), ctx.find(MachineFileStatus, machine_file_id(index))
                applied, error = True, outcome.errors.get(index, "")
                if is_trust(file):
                    root = ctx.find(TrustedRoot, file_entry_name(index))
                    applied, error = root is not None, "" if root is None else root.spec.error
                if error and (before is None or before.spec.error != error):
                    ctx.log.warning("cannot apply", what=f"machine.files[{index}]", path=file.path, reason=error)
                spec = MachineFileStatusSpec(path=file.path, op=file.op, applied=applied and not error, error=error)
                await ctx.put(MachineFileStatus, id, spec)

    def _change(self, plan: "FilePlan") -> _Outcome:
        """Restore and write; in a worker thread."""
        outcome = _Outcome(dict(plan.errors))
        for path in self._files.owned(self.name).keys() - {file.path for file in plan.files}:
            try:
                if left := self._files.restore(self.name, path):
                    outcome.left.append(left)
                self._files.forget(self.name, path)
            except (HostError, OSError) as error:
                outcome.left.append(f"{path} cannot be put back: {reason(error)}")
        for file in plan.files:
            try:
                self._files.apply(self.name, file.path, file.path, file.edit, mode=file.mode)
                self._files.settle(self.name, file.path)
            except (HostError, OSError) as error:
                outcome.errors |= dict.fromkeys(file.entries, reason(error))
        outcome.left += self._files.take_left(self.name)
        return outcome
