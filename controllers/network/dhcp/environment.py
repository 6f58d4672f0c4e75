"""What all DHCP clients of a node share: clocks, randomness, the directory for leases."""

import time
from collections.abc import Callable
from pathlib import Path
from random import Random, SystemRandom

import attrs

from nodespan.controllers.common.boot_clock import SystemBootClock
from nodespan.controllers.network.dhcp.lease_file import Moment


def _moment() -> Moment:
    clock = SystemBootClock()
    return Moment(boot_id=clock.boot, since_boot=clock.now(), calendar=time.time_ns())


@attrs.frozen(kw_only=True)
class DHCPEnvironment:
    """`state_dir` is the agent's own directory, `netns` the network namespace of the links."""

    state_dir: Path
    netns: str | None = None
    now: Callable[[], Moment] = _moment
    random: Random = attrs.field(factory=SystemRandom)
