"""secrets.TrustedRootsController: makes the agent and the system trust the configured authorities.

For our own connections there is a bundle of a file, which also has those of the system. The system is told in the way
of its distribution.
"""

from collections.abc import Sequence
from pathlib import Path

import attrs
import trio

from nodespan.controllers.host.commands import CommandFailedError
from nodespan.controllers.host.edits import Appended, Edit, Whole
from nodespan.controllers.host.etc_file import reason
from nodespan.controllers.host.host import Host, HostError
from nodespan.controllers.host.managed_files import ManagedFiles, read_file, write_file
from nodespan.controllers.host.originals import FileContent
from nodespan.controllers.host.polling import wake_on_change
from nodespan.controllers.host.trust_mechanism import Mechanism, find_bundle, find_mechanism
from nodespan.controllers.host.trust_rules import (
    TrustEntry,
    anchor_files,
    bundle_digest,
    combined_bundle,
    trust_entries,
)
from nodespan.controllers.host.undo_gate import CONFIG_INPUT, GRACE, UndoGate
from nodespan.resources.config import MACHINE_CONFIG_ID, MachineConfig, MachineConfigSpec
from nodespan.resources.trust import TRUST_BUNDLE_ID, TrustBundle, TrustBundleSpec, TrustedRoot, TrustedRootSpec
from nodespan.runtime.controller import Controller, ControllerContext, exclusive
from nodespan.runtime.system_roots import TrustError, roots_signature, system_roots
from nodespan.runtime.whole_file import make_directory

POLL_INTERVAL = 5.0
RETRY_INTERVAL = 60.0
_DIRECTORY = "trust"
_FILE_NAME = "ca-bundle.crt"


@attrs.define
class _Update:
    """Result of updating the system: its directory, files written, files restored, and the error."""

    place: str = ""
    unnotified: list[str] = attrs.field(factory=list)
    gone: list[str] = attrs.field(factory=list)
    left: list[str] = attrs.field(factory=list)
    error: str = ""


class TrustedRootsController(Controller):
    """Writes `ca-bundle`, and a status for each entry."""

    name = "secrets.TrustedRootsController"
    inputs = (CONFIG_INPUT,)
    outputs = (exclusive(TrustBundle), exclusive(TrustedRoot))

    def __init__(
        self,
        files: ManagedFiles,
        state_dir: Path,
        *,
        leaving: trio.Event,
        poll_interval: float = POLL_INTERVAL,
        retry_interval: float = RETRY_INTERVAL,
        grace: float = GRACE,
    ) -> None:
        self._files = files
        self._bundle = state_dir.absolute() / _DIRECTORY / _FILE_NAME
        self._undo_gate = UndoGate(leaving, grace=grace)
        self._poll_interval = poll_interval
        self._retry_interval = retry_interval
        self._seen: object = None
        # What the last turn was about and what it found, and whether something is to be tried again.
        self._entries: Sequence[TrustEntry] = ()
        self._digest = ""
        self._place: object = None
        self._has_failed = False
        # Without a configuration nothing is done, and so nothing again.
        self._may_act = False

    async def run(self, ctx: ControllerContext) -> None:
        """Follow the configuration, the files and the bundle of the system."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._undo_gate.watch, ctx)
            nursery.start_soon(wake_on_change, self._needs_a_turn, self._retry_interval, ctx)
            nursery.start_soon(wake_on_change, self._has_changed, self._poll_interval, ctx)
            async for _ in ctx:
                may_undo = self._undo_gate.may_undo(ctx, nursery)
                config = ctx.find(MachineConfig, MACHINE_CONFIG_ID)
                # In a thread: a configuration may hold hundreds.
                entries = () if config is None else await trio.to_thread.run_sync(_entries, config.spec)
                self._entries = entries
                # Our bundle first: the system's tools are slow.
                await self._publish(ctx, entries)
                # The configuration lists everything desired, so there is nothing to wait for.
                self._may_act = config is not None or may_undo
                if self._may_act:
                    await self._tell_system(ctx, entries)
                    await self._publish(ctx, entries)
                self._seen = await trio.to_thread.run_sync(self._look)

    def _look(self) -> object:
        # The bundle has hundreds of certificates: every few seconds it is not read, only looked for.
        return self._files.signature(self.name), roots_signature(), self._bundle.exists()

    def _has_changed(self) -> bool:
        return self._look() != self._seen

    def _needs_a_turn(self) -> bool:
        if self._may_act and (self._has_failed or self._place != _place(self._files.host)):
            return True
        desired = combined_bundle(_system_bundle(), self._entries)
        try:
            bundle = read_file(self._bundle)
        except (HostError, OSError):
            return True
        is_published = bundle is not None and bundle.content == desired and bundle_digest(desired) == self._digest
        return not is_published or (self._may_act and not self._files.are_as_applied(self.name, str))

    async def _publish(self, ctx: ControllerContext, entries: Sequence[TrustEntry]) -> None:
        digest = self._digest = await trio.to_thread.run_sync(self._write_bundle, entries)
        added = "".join(anchor_files(entries, "").values())
        spec = TrustBundleSpec(path=str(self._bundle), digest=digest, added=added)
        await ctx.put(TrustBundle, TRUST_BUNDLE_ID, spec)

    def _write_bundle(self, entries: Sequence[TrustEntry]) -> str:
        bundle = combined_bundle(_system_bundle(), entries)
        before = read_file(self._bundle)
        if before is None or before.content != bundle:
            make_directory(self._bundle.parent, mode=0o700)
            status = self._bundle.parent.stat()
            content = FileContent(content=bundle, mode=0o644, uid=status.st_uid, gid=status.st_gid)
            write_file(self._bundle, content, like=False)
        return bundle_digest(bundle)

    async def _tell_system(self, ctx: ControllerContext, entries: Sequence[TrustEntry]) -> None:
        mechanism, bundle = await trio.to_thread.run_sync(_place, self._files.host)
        self._place = mechanism, bundle
        update = await trio.to_thread.run_sync(self._write_anchors, entries, mechanism)
        commands = self._files.host.commands
        if mechanism is not None and commands is not None and (update.unnotified or update.gone):
            try:
                await commands.run(*mechanism.command)
            except CommandFailedError as error:
                update.error = str(error)
        if not update.error:
            await trio.to_thread.run_sync(self._conclude, update)
        if update.error and not entries:
            ctx.log.warning("certificate authorities cannot be taken back from the system", error=update.error)
        self._has_failed = bool(update.error or update.left)
        for message in update.left:
            ctx.log.warning(message)
        await self._report(ctx, entries, update)

    def _write_anchors(self, entries: Sequence[TrustEntry], mechanism: Mechanism | None) -> _Update:
        """Write the system's files and restore those no longer desired; in a worker thread."""
        host = self._files.host
        desired: dict[str, Edit] = {}
        update = _Update()
        if mechanism is not None:
            update.place = mechanism.directory
            anchors = anchor_files(entries, mechanism.suffix)
            desired = {f"{mechanism.directory}/{name}": Whole(pem.encode()) for name, pem in anchors.items()}
        elif added := "".join(anchor_files(entries, "").values()):
            update.place = find_bundle(host)
            if update.place:
                desired = {update.place: Appended(added.encode())}
            else:
                update.error = "this system has no place for certificate authorities: install ca-certificates"
        try:
            for path in self._files.owned(self.name).keys() - desired.keys():
                if left := self._files.restore(self.name, path):
                    update.left.append(left)
                update.gone.append(path)
            for path, edit in desired.items():
                if self._files.apply(self.name, path, path, edit):
                    update.unnotified.append(path)
        except (HostError, OSError) as error:
            update.error = reason(error)
        update.left += self._files.take_left(self.name)
        return update

    def _conclude(self, update: _Update) -> None:
        for path in update.unnotified:
            self._files.settle(self.name, path)
        for path in update.gone:
            self._files.forget(self.name, path)

    async def _report(self, ctx: ControllerContext, entries: Sequence[TrustEntry], update: _Update) -> None:
        async with ctx.tracked_outputs(TrustedRoot):
            for entry in entries:
                before = ctx.find(TrustedRoot, entry.name)
                spec = TrustedRootSpec(
                    source=entry.source,
                    subjects=tuple(certificate.subject for certificate in entry.certificates),
                    installed="" if entry.error or update.error else update.place,
                    error=entry.error or (f"we trust it, but not the system: {update.error}" if update.error else ""),
                )
                if spec.error and (before is None or before.spec.error != spec.error):
                    ctx.log.warning("certificate authorities", name=entry.name, source=entry.source, error=spec.error)
                await ctx.put(TrustedRoot, entry.name, spec)


def _place(host: Host) -> tuple[Mechanism | None, str]:
    """How the system is told, and the bundle of one that has no way. Blocks."""
    mechanism = find_mechanism(host)
    return mechanism, "" if mechanism is not None else find_bundle(host)


def _entries(config: MachineConfigSpec) -> tuple[TrustEntry, ...]:
    return tuple(trust_entries(config))


def _system_bundle() -> bytes:
    try:
        return system_roots()
    except TrustError:
        return b""  # no system bundle: only the configured authorities are trusted
