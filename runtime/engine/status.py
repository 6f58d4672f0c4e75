"""The status of a controller as a resource, readable like any other."""

import enum

import attrs

from nodespan.runtime.resource import ResourceType, wire

NAMESPACE = "runtime"


class ControllerState(enum.StrEnum):
    """The state of a controller's life cycle."""

    RUNNING = "running"
    # For a namespace that is out of reach.
    WAITING = "waiting"
    BACKOFF = "backoff"
    FINISHED = "finished"


@attrs.frozen(kw_only=True)
class ControllerStatusSpec:
    """A controller's counts since the start of the process, and its last failure.

    `queue_length` is what waits in the queue of a queue controller, `failing` how many items of its reconciler could
    not be applied. `longest_step_ms` is the longest time, in
    milliseconds, that it blocked the loop by not awaiting. `notice` is a hint for the operator.
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
