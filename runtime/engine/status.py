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
    """A controller's counts since the start of the process, and its last failure."""

    shape: str
    """How the controller runs: in turns (`run`), or by a queue of items (`queue`)."""
    state: ControllerState = ControllerState.RUNNING
    """The state of its life cycle."""
    wakeups: int = 0
    """How often it was woken."""
    reads: int = 0
    """How many resources it has read."""
    writes: int = 0
    """How many writes it has made."""
    crashes: int = 0
    """How often it has failed and was started again."""
    queue_length: int = attrs.field(default=0, metadata=wire(omit_empty=True))
    """How many items wait in the queue of a queue controller."""
    failing: int = attrs.field(default=0, metadata=wire(omit_empty=True))
    """How many items of its reconciler could not be applied."""
    longest_step_ms: int = attrs.field(default=0, metadata=wire(omit_empty=True))
    """The longest time that it blocked the loop by not awaiting, in milliseconds."""
    last_error: str = attrs.field(default="", metadata=wire(omit_empty=True))
    """Its last failure, "" for none."""
    notice: str = attrs.field(default="", metadata=wire(omit_empty=True))
    """A hint for the operator."""


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
