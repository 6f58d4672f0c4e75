"""A virtual IP on a machine whose time of day jumps: the holder's, and that of its etcd. Only a guest's may be set."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from nodespan.resources.network import VIPState, VIPStatus
from tests.support.monitor import watching
from tests.support.vip_stage import ID, has_address, vip_stage

pytestmark = pytest.mark.needs_program("etcd")

HOUR = 3600.0
# The guest is slow.
TTL = 15.0
# What goes by the time of day ends within a beat.
LONG = 6.0


def jump(seconds: float) -> None:
    time.clock_settime(time.CLOCK_REALTIME, time.clock_gettime(time.CLOCK_REALTIME) + seconds)


@contextlib.contextmanager
def _time_put_back() -> Iterator[None]:
    ahead = time.clock_gettime(time.CLOCK_REALTIME) - time.clock_gettime(time.CLOCK_BOOTTIME)
    try:
        yield
    finally:
        time.clock_settime(time.CLOCK_REALTIME, time.clock_gettime(time.CLOCK_BOOTTIME) + ahead)


async def test_ownership_survives_jumps_of_the_wall_clock(tmp_path: Path) -> None:
    async with vip_stage(tmp_path, fast=False, ttl=TTL) as at:
        lease = (await at.is_(VIPState.LEADER, within=300)).lease
        with _time_put_back():
            for seconds in (HOUR, -2 * HOUR):
                async with watching(at.inside, "address") as seen:
                    jump(seconds)
                    await trio.sleep(LONG)
                assert "Deleted" not in seen()
                status = at.node.state.get(VIPStatus, ID).spec
                assert (status.state, status.lease, status.reason) == (VIPState.LEADER, lease, "")
                assert has_address(at.inside)
