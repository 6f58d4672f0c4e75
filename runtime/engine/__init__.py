"""Runs controllers: wake-ups, restarts, access checks, output tracking, statuses."""

from nodespan.runtime.engine.engine import Engine
from nodespan.runtime.engine.status import ControllerState, ControllerStatus, ControllerStatusSpec

__all__ = ["ControllerState", "ControllerStatus", "ControllerStatusSpec", "Engine"]
