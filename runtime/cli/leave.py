"""`nodespan leave`: the agent takes its node out of the cluster, reverts its changes, and stops."""

import os
import select
import sys

from nodespan.runtime.cli.client import AgentGoneError, Connection
from nodespan.runtime.cli.errors import CommandError

# As the agent offers it.
LEAVE = "agent.leave"

_STOP_PATIENCE = 10.0


def leave(socket_path: str) -> int:
    """Wait until the agent has left and stopped; returns 1 if some changes remain. Raises CommandError."""
    status = None
    with Connection(socket_path, {"call": "action", "name": LEAVE, "arguments": {}}) as answers:
        process = _process_of(answers)
        try:
            for answer in answers:
                status = answer.get("status", status)
                (sys.stderr if status else sys.stdout).write(answer.get("text", ""))
                sys.stdout.flush()
        except AgentGoneError:
            if status is None:
                raise
    if status is None:
        raise CommandError("the agent did not say whether it left: its log tells")
    if process is not None:
        select.select([process], [], [], _STOP_PATIENCE)
        os.close(process)
    return int(status)


def _process_of(connection: Connection) -> int | None:
    try:
        return connection.open_process()
    except OSError:
        return None  # it cannot be waited for, which is all that is lost
