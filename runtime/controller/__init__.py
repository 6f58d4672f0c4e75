"""Everything that the author of a controller needs: declarations, base classes, and the generic controllers."""

from nodespan.runtime.controller.base import Controller, QueueController, Requeue, SkipReconcile
from nodespan.runtime.controller.context import Access, ControllerContext, Counters, Logger, QueueContext, RateLimit
from nodespan.runtime.controller.declarations import (
    Input,
    InputMode,
    Output,
    OutputMode,
    destroy_ready,
    exclusive,
    mapped,
    mapped_destroy_ready,
    primary,
    shared,
    strong,
    weak,
)

__all__ = [
    "Access",
    "Controller",
    "ControllerContext",
    "Counters",
    "Input",
    "InputMode",
    "Logger",
    "Output",
    "OutputMode",
    "QueueContext",
    "QueueController",
    "RateLimit",
    "Requeue",
    "SkipReconcile",
    "destroy_ready",
    "exclusive",
    "mapped",
    "mapped_destroy_ready",
    "primary",
    "shared",
    "strong",
    "weak",
]
