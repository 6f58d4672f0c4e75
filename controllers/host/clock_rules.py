"""When the clock counts as synchronized, and what the time services print of their servers. Pure.

The clock is synchronized once the kernel says so, which time services see to; once the boot timeout has passed; or if
the configuration leaves the clock to others. It stays so: those who wait for it wait once. A step of more than a
quarter of an hour begins a new epoch.
"""

import datetime
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import attrs

from nodespan.resources.runtime import AdjtimeStatusSpec, NTPSourceSpec, TimeStatusSpec
from nodespan.runtime.text.escaping import bounded

if TYPE_CHECKING:
    from nodespan.kernel.clock import KernelClock

# A step of more than this, in seconds, begins a new epoch.
LARGE_STEP: Final = 15 * 60.0
CHRONY: Final = "chrony"
TIMESYNCD: Final = "systemd-timesyncd"
# What a time service prints is bounded: servers, and the length of their names.
_MOST_SOURCES: Final = 64
_LONGEST_NAME: Final = 253
_CHRONY_STATES: Final = {
    "*": "selected",
    "+": "combined",
    "-": "not combined",
    "?": "unusable",
    "x": "falseticker",
    "~": "too variable",
}
_CHRONY_FIELDS: Final = 10
_LAST_REQUESTS: Final = 8
_PARTS: Final = re.compile(r"(\w+)=([^,}]*)")


@attrs.frozen(kw_only=True)
class Watch:
    """What is known of the clock since the controller began, at `began` (seconds of the boot clock)."""

    began: float
    # The wall clock less the boot clock.
    offset: float
    epoch: int = 0
    is_synced: bool = False

    def look(
        self, now: float, wall: float, clock: "KernelClock | None", *, is_kept: bool, boot_timeout: float
    ) -> "tuple[Watch, TimeStatusSpec]":
        """One more look: what is known then, and the status."""
        stepped = abs(wall - now - self.offset) > LARGE_STEP
        is_over = 0 < boot_timeout <= now - self.began
        is_synced = is_kept and (self.is_synced or is_over or (clock is not None and clock.is_synchronized))
        after = attrs.evolve(self, offset=wall - now, epoch=self.epoch + stepped, is_synced=is_synced)
        status = TimeStatusSpec(synced=is_synced or not is_kept, epoch=after.epoch, sync_disabled=not is_kept)
        return after, status


def adjtime_status(clock: "KernelClock") -> AdjtimeStatusSpec:
    """The state of the kernel's clock as a resource."""
    return AdjtimeStatusSpec(
        offset=datetime.timedelta(microseconds=clock.offset_ns / 1000),
        frequency_adjustment_ratio=1 + clock.frequency / 65536 / 10**6,
        max_error=datetime.timedelta(microseconds=clock.max_error_us),
        est_error=datetime.timedelta(microseconds=clock.est_error_us),
        status=clock.status_text,
        constant=clock.constant,
        sync_status=clock.is_synchronized,
        state=clock.state_text,
    )


def chrony_sources(text: str) -> dict[str, NTPSourceSpec]:
    """The sources that `chronyc -c -n sources` prints, by their names."""
    return dict(_chrony_lines(text))


def _chrony_lines(text: str) -> Iterator[tuple[str, NTPSourceSpec]]:
    for line in text.splitlines()[:_MOST_SOURCES]:
        fields = line.split(",")
        if len(fields) < _CHRONY_FIELDS or not fields[2]:
            continue
        _, state, name, stratum, _, reach, _, offset = fields[:8]
        yield (
            bounded(name, _LONGEST_NAME),
            NTPSourceSpec(
                service=CHRONY,
                state=_CHRONY_STATES.get(state, ""),
                selected=state == "*",
                stratum=_number(stratum, 10),
                # A bit for each of the last requests, in base eight.
                reach=min(_number(reach, 8), 0xFF).bit_count(),
                offset=_seconds(offset) if _number(reach, 8) else None,
            ),
        )


def timesyncd_sources(text: str) -> dict[str, NTPSourceSpec]:
    """The server that `timedatectl show-timesync` prints; it has one at a time."""
    values = dict(line.partition("=")[::2] for line in text.splitlines() if "=" in line)
    name = values.get("ServerName", "") or values.get("ServerAddress", "")
    if not name:
        return {}
    message = dict(_PARTS.findall(values.get("NTPMessage", "")))
    answered = _number(message.get("PacketCount", ""), 10)
    is_used = answered > 0 and message.get("Ignored", "").strip() == "no"
    spec = NTPSourceSpec(
        service=TIMESYNCD,
        state="selected" if is_used else "unusable" if message else "asked",
        selected=is_used,
        stratum=_number(message.get("Stratum", ""), 10),
        reach=min(answered, _LAST_REQUESTS),
    )
    return {bounded(name, _LONGEST_NAME): spec}


def _number(text: str, base: int) -> int:
    digits = text.strip()[:18]
    try:
        return max(0, int(digits, base))
    except ValueError:
        return 0


def _seconds(text: str) -> datetime.timedelta | None:
    try:
        return datetime.timedelta(seconds=float(text))
    except (ValueError, OverflowError):
        return None
