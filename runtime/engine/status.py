"""What an operator sees of a controller: one resource each, readable like any other."""

import enum

import attrs

from nodespan.runtime.resource import ResourceType, wire

NAMESPACE = "runtime"


class ControllerState(enum.StrEnum):
    """Where a controller is in its life."""

    RUNNING = "running"
    BACKOFF = "backoff"
    FINISHED = "finished"


@attrs.frozen(kw_only=True)
class ControllerStatusSpec:
    """How a controller fares: counts since the start of the process, and what went wrong last.

    `queue_length` is what waits in the queue of a queue controller, `failing` how many items of its reconciler could
    not be applied. `longest_step_ms` is the longest time, in
    milliseconds, that it kept everything else waiting by not awaiting. `notice` says what an operator should look at.
    """

    shape: str
    state: ControllerState = ControllerState.RUNNING
    wakeups: int = 0
    reads: int = 0
    writes: int = 0
    crashes: int = 0
    queue_length: int = attrs.field(default=0, metadata=wire(omit_empty=True))
    failing: int = attrs.field(default=0, metadata=wire(omit_empty=True))
    longest_step_ms: int = attrs.field(default=0, metadata=wire(omit_empty=True))
    last_error: str = attrs.field(default="", metadata=wire(omit_empty=True))
    notice: str = attrs.field(default="", metadata=wire(omit_empty=True))


ControllerStatus = ResourceType(
    "ControllerStatuses.runtime.nodespan.dev",
    ControllerStatusSpec,
    singular="ControllerStatus",
    namespace=NAMESPACE,
    aliases=("controller", "controllers"),
    columns={
        "Shape": ".shape",
        "State": ".state",
        "Wakeups": ".wakeups",
        "Writes": ".writes",
        "Crashes": ".crashes",
        "Notice": ".notice",
        "Error": ".lastError",
    },
)
