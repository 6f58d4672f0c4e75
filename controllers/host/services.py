"""Which services of the machine use name servers and time servers, and the files that configure them."""

import enum
from pathlib import Path

import attrs

from nodespan.controllers.host.commands import CommandFailedError
from nodespan.controllers.host.host import Host, HostError
from nodespan.controllers.host.texts import HEADER

RESOLV_CONF = "/etc/resolv.conf"
RESOLVED_UNIT = "systemd-resolved.service"
TIMESYNCD_UNIT = "systemd-timesyncd.service"
CHRONY_SOURCES = "chrony/sources.d/nodespan.sources"
# chrony loads certificate authorities at start only, so this file needs a restart, not a reload.
CHRONY_NTS_SOURCES = "chrony/sources.d/nodespan-nts.sources"
# Its name everywhere once enabled, and Debian's name.
CHRONY_UNITS = ("chronyd.service", "chrony.service")
_RESOLVED = ("/run/systemd/resolve/", "/usr/lib/systemd/", "/lib/systemd/")
_CHRONY_FILES = ("chrony/chrony.conf", "chrony.conf")
# What other programs write into the first lines of their resolv.conf, and how to stop them from managing it.
_WRITERS = {
    "NetworkManager": "write [main] and dns=none into /etc/NetworkManager/conf.d/90-dns.conf, and reload it",
    "resolvconf": "remove the package resolvconf, or give it the name servers itself",
    "dhcpcd": "write nohook resolv.conf into /etc/dhcpcd.conf",
    "dhclient": "write supersede domain-name-servers into /etc/dhcp/dhclient.conf",
    "netconfig": 'write NETCONFIG_DNS_POLICY="" into /etc/sysconfig/network/config',
}
_FIRST_LINES = 5


class TimeService(enum.Enum):
    """What sets the clock."""

    CHRONY = "chrony"
    TIMESYNCD = "systemd-timesyncd"


@attrs.frozen(kw_only=True)
class Resolving:
    """How names are resolved: by systemd-resolved or resolv.conf; `problem` if another program is in charge."""

    by_resolved: bool = False
    problem: str = ""


@attrs.frozen(kw_only=True)
class Timekeeping:
    """The time service, if any; `file` is chrony's configuration, below /etc."""

    service: TimeService | None = None
    file: str = ""


class UnitState(enum.Enum):
    """State of a systemd unit. One that is starting or restarting counts as running."""

    RUNS = enum.auto()
    FAILED = enum.auto()
    RESTS = enum.auto()


async def unit_state(host: Host, unit: str) -> UnitState:
    """Query systemd; an unknown unit, or one without systemd, rests."""
    if not host.has_systemd or host.commands is None:
        return UnitState.RESTS
    try:
        text = await host.commands.run("systemctl", "show", "--property=ActiveState,Job", unit)
    except CommandFailedError:
        return UnitState.RESTS
    properties = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    if properties.get("ActiveState") == "failed":
        return UnitState.FAILED
    is_waiting = bool(properties.get("Job"))
    return UnitState.RESTS if properties.get("ActiveState") == "inactive" and not is_waiting else UnitState.RUNS


async def restart(host: Host, *units: str) -> None:
    """Restart the first of the units that runs or has failed; a stopped unit is not started.

    Raises CommandFailedError.
    """
    assert host.commands is not None
    for unit in units:
        if await unit_state(host, unit) is not UnitState.RESTS:
            # Reset systemd's start limit: after a few restarts in a row the service would stay stopped.
            await host.commands.run("systemctl", "reset-failed", unit)
            await host.commands.run("systemctl", "restart", unit)
            return


async def find_resolving(host: Host) -> Resolving:
    """How names are resolved on this machine."""
    path = host.root / RESOLV_CONF.lstrip("/")
    if not path.is_symlink():
        return Resolving(problem=_written_by_others(path))
    target = host.shown(host.resolve(RESOLV_CONF))
    if target.startswith(_RESOLVED):
        if await unit_state(host, RESOLVED_UNIT) is UnitState.RUNS:
            return Resolving(by_resolved=True)
        return Resolving(
            problem=f"{RESOLV_CONF} leads to {target}, but systemd-resolved does not run: start it, or remove the link"
        )
    hint = next((hint for name, hint in _WRITERS.items() if name.lower() in target.lower()), "")
    return Resolving(
        problem=f"{RESOLV_CONF} leads to {target}, which another program writes: {hint or 'remove the link'}"
    )


def _written_by_others(path: Path) -> str:
    try:
        text = path.read_text(errors="replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"{RESOLV_CONF}: {error.strerror}"
    if text.startswith(HEADER):
        return ""
    comments = " ".join(line for line in text.splitlines()[:_FIRST_LINES] if line.startswith(("#", ";"))).lower()
    for name, hint in _WRITERS.items():
        if name.lower() in comments:
            return f"{RESOLV_CONF} is written by {name}, and is left as it is: {hint}"
    return ""


async def find_timekeeping(host: Host) -> Timekeeping:
    """What sets the clock of this machine."""
    chrony = Timekeeping(service=TimeService.CHRONY, file=_chrony_file(host))
    for unit in CHRONY_UNITS:
        if await unit_state(host, unit) is UnitState.RUNS:
            return chrony
    if await unit_state(host, TIMESYNCD_UNIT) is UnitState.RUNS:
        return Timekeeping(service=TimeService.TIMESYNCD)
    # A chronyd started without systemd. A stale pid file of a killed one counts too.
    return chrony if _has_chronyd(host) else Timekeeping()


def _has_chronyd(host: Host) -> bool:
    return any(host.exists(path) for path in ("/run/chrony/chronyd.pid", "/run/chronyd.pid"))


def _chrony_file(host: Host) -> str:
    return next((file for file in _CHRONY_FILES if host.exists(f"/etc/{file}")), "")


def chrony_reads_sources(host: Host, file: str) -> bool:
    """Whether chrony reads servers from a sources directory, which needs no restart."""
    try:
        text = host.resolve(f"/etc/{file}").read_text(errors="replace")
    except (OSError, HostError):
        return False
    return any(line.split()[:2] == ["sourcedir", "/etc/chrony/sources.d"] for line in text.splitlines())
