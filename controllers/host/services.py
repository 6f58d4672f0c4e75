"""Which services of the machine ask name servers and time servers, and by which files they are told."""

import enum
from pathlib import Path

import attrs

from controllers.host.commands import CommandFailedError
from controllers.host.host import Host, HostError
from controllers.host.texts import HEADER

RESOLV_CONF = "/etc/resolv.conf"
RESOLVED_UNIT = "systemd-resolved.service"
TIMESYNCD_UNIT = "systemd-timesyncd.service"
# By the name that it has everywhere once it is enabled, and by Debian's.
CHRONY_UNITS = ("chronyd.service", "chrony.service")
_RESOLVED = ("/run/systemd/resolve/", "/usr/lib/systemd/", "/lib/systemd/")
_CHRONY_FILES = ("chrony/chrony.conf", "chrony.conf")
# What others write into the first lines of a resolv.conf of theirs, and what makes them let go.
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
    """How names are looked up: by systemd-resolved, or as resolv.conf says; or somebody else's `problem`."""

    by_resolved: bool = False
    problem: str = ""


@attrs.frozen(kw_only=True)
class Timekeeping:
    """What sets the clock, if anything; `file` is where chrony takes servers from, below /etc."""

    service: TimeService | None = None
    file: str = ""


async def is_running(host: Host, unit: str) -> bool:
    """Whether a unit of systemd is active; False where there is no systemd to ask."""
    return await _is(host, "is-active", unit)


async def _is(host: Host, what: str, unit: str) -> bool:
    if not host.has_systemd or host.commands is None:
        return False
    try:
        await host.commands.run("systemctl", what, "--quiet", unit)
    except CommandFailedError:
        return False
    return True


async def restart(host: Host, *units: str) -> None:
    """Start the first of some units anew that runs or has failed; none is started that was not to run.

    Raises CommandFailedError.
    """
    assert host.commands is not None
    for unit in units:
        if await is_running(host, unit) or await _has_failed(host, unit):
            # Systemd counts: a service that is started anew a few times in a row would stay ended.
            await host.commands.run("systemctl", "reset-failed", unit)
            await host.commands.run("systemctl", "restart", unit)
            return


async def _has_failed(host: Host, unit: str) -> bool:
    return await _is(host, "is-failed", unit)


async def find_resolving(host: Host) -> Resolving:
    """How names are looked up on this machine."""
    path = host.root / RESOLV_CONF.lstrip("/")
    if not path.is_symlink():
        return Resolving(problem=_written_by_others(path))
    target = host.shown(host.resolve(RESOLV_CONF))
    if target.startswith(_RESOLVED):
        if await is_running(host, RESOLVED_UNIT):
            return Resolving(by_resolved=True)
        return Resolving(
            problem=f"{RESOLV_CONF} leads to {target}, but systemd-resolved does not run: start it, or remove the link"
        )
    hint = next((hint for name, hint in _WRITERS.items() if name.lower() in target.lower()), "")
    return Resolving(
        problem=f"{RESOLV_CONF} leads to {target}, which somebody else writes: {hint or 'remove the link'}"
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
        if await is_running(host, unit):
            return chrony
    if await is_running(host, TIMESYNCD_UNIT):
        return Timekeeping(service=TimeService.TIMESYNCD)
    # One that nobody asks systemd for; one that was killed leaves its file too.
    return chrony if _has_chronyd(host) else Timekeeping()


def _has_chronyd(host: Host) -> bool:
    return any(host.exists(path) for path in ("/run/chrony/chronyd.pid", "/run/chronyd.pid"))


def _chrony_file(host: Host) -> str:
    return next((file for file in _CHRONY_FILES if host.exists(f"/etc/{file}")), "")


def chrony_reads_sources(host: Host, file: str) -> bool:
    """Whether chrony takes servers from files in a directory of its own, and so without a restart."""
    try:
        text = host.resolve(f"/etc/{file}").read_text(errors="replace")
    except (OSError, HostError):
        return False
    return any(line.split()[:2] == ["sourcedir", "/etc/chrony/sources.d"] for line in text.splitlines())
