"""The faults of a virtual IP, each many times in one lab; how long the address was gone each time."""

import statistics

import attrs

from tests.mesh.vip_faults import FAULTS
from tests.support.vip_lab import vip_lab
from tests.support.vip_recorder import now

TIMES = 20


@attrs.frozen
class Seen:
    """What one fault did, over all times: seconds that the address was gone, 0 where it is not to move."""

    fault: str
    seconds: tuple[float, ...]

    def __str__(self) -> str:
        middle, worst = statistics.median(self.seconds), max(self.seconds)
        return f"{self.fault:<50} {len(self.seconds):>5} {middle:>9.2f} {worst:>9.2f}"


async def soak(times: int = TIMES) -> None:
    """Print what was seen. Raises AssertionError as soon as two nodes had the address, or none for too long."""
    print(f"{'fault':<50} {'times':>5} {'median s':>9} {'worst s':>9}", flush=True)
    async with vip_lab() as lab:
        for fault in FAULTS:
            seconds = []
            for _ in range(times):
                since = now()
                seconds.append(await fault(lab))
                lab.record.check(since)
            print(Seen(fault.__name__.replace("_", " "), tuple(seconds)), flush=True)
