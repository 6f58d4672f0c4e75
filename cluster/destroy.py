"""Removes a cluster from outside: through the process that supervises it, or directly if that is gone."""

import os
import select
import signal

from nodespan.cluster.ownership import owner_of
from nodespan.cluster.record import recorded
from nodespan.cluster.removal import remove
from nodespan.cluster.station_processes import CommandFailedError
from nodespan.runtime.cli.errors import CommandError

_PATIENCE = 30.0


def destroy(name: str) -> bool:
    """Remove the cluster; returns whether there was one. Blocks for seconds.

    Raises CommandError, NameRefusedError, OSError.
    """
    if os.geteuid() != 0:
        raise PermissionError
    plan = recorded(name)
    owner = owner_of(plan)
    if owner is not None:
        _stop(owner, name)
    try:
        return remove(plan) or owner is not None
    except CommandFailedError as error:
        raise CommandError(str(error)) from error


def _stop(owner: int, name: str) -> None:
    """Make the process remove the cluster, and wait for its end. Raises CommandError if it does not end."""
    try:
        process = os.pidfd_open(owner)
    except ProcessLookupError:
        return
    try:
        signal.pidfd_send_signal(process, signal.SIGTERM)
        end = select.poll()
        end.register(process, select.POLLIN)
        if not end.poll(_PATIENCE * 1000):
            raise CommandError(f"process {owner}, which supervises {name!r}, does not stop: kill -9 {owner}")
    finally:
        os.close(process)
