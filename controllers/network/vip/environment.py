"""What all virtual IPs of a node share: clocks, etcd clients, the state directory."""

import time
from collections.abc import Callable
from pathlib import Path

import attrs

from nodespan.controllers.network.vip.clients import EtcdClients
from nodespan.controllers.network.vip.clouds.endpoints import Endpoints
from nodespan.runtime.process.boot_time import boot_time


@attrs.frozen(kw_only=True)
class VIPEnvironment:
    """`state_dir` is the agent's own directory. `clock` is that of leases, `wall` the time of day in seconds.

    `clouds` is where their APIs are. `settle` is that of `etcd.Election`: changing it is safe only where etcd is never
    restored from a snapshot.
    """

    state_dir: Path
    netns: str | None = None
    clients: EtcdClients = attrs.field(factory=EtcdClients)
    clock: Callable[[], float] = boot_time
    wall: Callable[[], float] = time.time
    settle: float | None = None
    clouds: Endpoints = attrs.field(factory=Endpoints)
