"""What systemd-resolved knows for one link: read, registered and taken back by its own program.

What an agent registers is recorded before, so that the next one knows what a killed one has left, and what others have.
"""

from pathlib import Path

import trio

from nodespan.controllers.common.journal import Journal
from nodespan.controllers.host.commands import CommandFailedError
from nodespan.controllers.host.host import Host, HostError
from nodespan.controllers.host.names.name_service_rules import (
    Registration,
    commands,
    registration_from_plain,
    registration_to_plain,
    shown_values,
)
from nodespan.controllers.host.services import RESOLVED_UNIT, UnitState, unit_state

_STATE = "/run/systemd/resolve/netif"
_NSSWITCH = "/etc/nsswitch.conf"
_PROGRAM = "resolvectl"
# What is not there cannot have anything registered.
_NO_LINK = ("No such device", "Unknown link", "Unknown interface", "not known")


class Resolved:
    """Commands raise CommandFailedError, calls raise HostError for what an operator has to change, OSError."""

    def __init__(self, host: Host, record: Path) -> None:
        self._host = host
        self._journal = Journal(record)

    async def check(self) -> None:
        """Whether it runs here and may be told. Raises HostError if not."""
        if self._host.refusal:
            raise HostError(self._host.refusal)
        if self._host.commands is None:
            raise HostError("below another root there is no systemd-resolved to tell")
        if not await trio.to_thread.run_sync(self._host.has_program, _PROGRAM):
            raise HostError("there is no resolvectl: install systemd-resolved, or use mode: hosts")
        if await unit_state(self._host, RESOLVED_UNIT) is not UnitState.RUNS:
            raise HostError("systemd-resolved does not run: start it, or use mode: hosts")

    async def register(self, link: str, desired: Registration) -> bool:
        """Make the link have this; returns whether that changed anything. Raises HostError for what others have."""
        observed = await self._observed(link)
        before = await trio.to_thread.run_sync(self._recorded, link)
        if observed == desired and before == desired:
            return False
        if not observed.is_empty and not observed.is_part_of(before):
            found = ", ".join((*observed.servers, *observed.domains))
            raise HostError(
                f"systemd-resolved has {found} for {link} from another program, and that is left as it is: "
                "take it away there, or use mode: hosts"
            )
        # Both count until it is done.
        both = Registration(
            tuple(dict.fromkeys((*before.servers, *desired.servers))),
            tuple(dict.fromkeys((*before.domains, *desired.domains))),
        )
        await trio.to_thread.run_sync(self._record, link, both)
        await self._run(*commands(link, desired))
        await trio.to_thread.run_sync(self._record, link, desired)
        return True

    async def take_back(self, link: str) -> str:
        """Make the link have nothing of ours; returns why something was left, "" for nothing."""
        before = await trio.to_thread.run_sync(self._recorded, link)
        if before.is_empty:
            return ""
        left = ""
        if await trio.to_thread.run_sync(self._host.has_program, _PROGRAM) and self._host.commands is not None:
            observed = await self._observed(link)
            if not observed.is_part_of(before):
                left = f"systemd-resolved was told otherwise for {link} by another program, and is left as it is"
            elif not observed.is_empty:
                await self._run((_PROGRAM, "revert", link))
        await trio.to_thread.run_sync(self._record, link, None)
        return left

    def has_record(self, link: str) -> bool:
        """Whether something is registered, or may be. Blocks."""
        return not self._recorded(link).is_empty

    def signature(self, index: int) -> tuple[int, ...]:
        """A value that changes whenever what it knows for a link does; empty where it keeps nothing. Blocks."""
        try:
            status = self._host.resolve(f"{_STATE}/{index}").stat()
        except (OSError, HostError):
            return ()
        return (status.st_ino, status.st_size, status.st_mtime_ns)

    def is_asked(self) -> bool:
        """Whether programs of this machine ask it. Blocks."""
        try:
            lines = self._host.resolve(_NSSWITCH).read_text(errors="replace").splitlines()
        except (OSError, HostError):
            lines = []
        if any(line.partition(":")[0].strip() == "hosts" and "resolve" in line.split() for line in lines):
            return True
        try:
            text = self._host.resolve("/etc/resolv.conf").read_text(errors="replace")
        except (OSError, HostError):
            return False
        return any(line.split()[:2] == ["nameserver", "127.0.0.53"] for line in text.splitlines())

    async def _observed(self, link: str) -> Registration:
        return Registration(await self._shown("dns", link), await self._shown("domain", link))

    async def _shown(self, what: str, link: str) -> tuple[str, ...]:
        assert self._host.commands is not None
        try:
            return shown_values(await self._host.commands.run(_PROGRAM, what, link))
        except CommandFailedError as error:
            if any(text in str(error) for text in _NO_LINK):
                return ()
            raise

    async def _run(self, *lines: tuple[str, ...]) -> None:
        assert self._host.commands is not None
        for line in lines:
            await self._host.commands.run(*line)

    def _recorded(self, link: str) -> Registration:
        return registration_from_plain(self._journal.get(link))

    def _record(self, link: str, registration: Registration | None) -> None:
        self._journal.change({link: None if registration is None else registration_to_plain(registration)})
