"""The keepalive interval that WireGuard devices take: whole seconds, up to 65535, 0 for none."""

import datetime

_LONGEST = 65535


def keepalive_seconds(interval: datetime.timedelta) -> int:
    """The nearest interval that a device takes. A positive one never becomes none."""
    seconds = interval.total_seconds()
    return 0 if seconds <= 0 else min(max(round(seconds), 1), _LONGEST)
