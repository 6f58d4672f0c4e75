"""When periodic looks are due: at whole seconds of the loop's clock, all of them together.

A process that looks at ten things, each every second or so, would wake ten times a second if each counted from when it
began. Each wake-up costs more than most looks.
"""

import math

import trio

_GRAIN = 1.0
_HALF = 0.5


def due_after(interval: float) -> float:
    """The moment, on the loop's clock, of a look that is due about this many seconds from now.

    It is a whole second that is at most half a second off, for intervals from a second on. Shorter ones are exact.
    """
    now = trio.current_time()
    if interval < _GRAIN or math.isinf(interval):
        return now + interval
    due = math.floor(now + interval)
    return float(due if due - now >= interval - _GRAIN / 2 else due + 1)


def due_from(since: float, interval: float) -> float:
    """The moment of what must not come before so many seconds after `since`, but may come up to a second later.

    It is a whole second of the loop's clock, for intervals from a second on. Shorter ones are exact.
    """
    due = since + interval
    return due if interval < _GRAIN or math.isinf(interval) else float(math.ceil(due))


def due_by(interval: float) -> float:
    """The moment of what must not come later than this many seconds from now, but may come up to half a second earlier.

    For multiples of half a second it is one of the loop's clock, so that every second one is due with the looks. Others
    are exact, and would come more often if they were not.
    """
    now = trio.current_time()
    if not interval or interval % _HALF:
        return now + interval
    return math.floor((now + interval) / _HALF) * _HALF


async def tick(interval: float) -> None:
    """Sleep until the next look is due; a checkpoint."""
    await trio.sleep_until(due_after(interval))
