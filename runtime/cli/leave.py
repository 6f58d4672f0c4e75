"""`nodespan leave`: the agent takes its node out of the cluster, reverts its changes, and stops."""

import os
import sys
import time

from nodespan.runtime.cli.client import AgentGoneError, Connection
from nodespan.runtime.cli.errors import CommandError

# As the agent offers it.
LEAVE = "agent.leave"

_STOP_PATIENCE = 10.0


def leave(socket_path: str) -> int:
    """Wait until the agent has left and stopped; returns 1 if some changes remain. Raises CommandError."""
    status = None
    with Connection(socket_path, {"call": "action", "name": LEAVE, "arguments": {}}) as answers:
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
    deadline = time.monotonic() + _STOP_PATIENCE
    while os.path.exists(socket_path) and time.monotonic() < deadline:
        time.sleep(0.02)
    return int(status)
