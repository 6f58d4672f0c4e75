"""The dashboard: the node and its mesh in a browser, or on a terminal."""

from collections.abc import Iterable

from nodespan.controllers.dashboard.server import ServerController
from nodespan.runtime.plugins import AnyController, Settings


def controllers(settings: Settings) -> Iterable[AnyController]:
    """The controllers of this family, for their entry point."""
    return [ServerController(settings.agent, settings.state_dir)]


__all__ = ["controllers"]
