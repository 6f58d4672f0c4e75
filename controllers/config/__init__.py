"""From the text of a machine configuration to its typed value: reading, checking, applying, showing what is wrong."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nodespan.runtime.controller import Controller
    from nodespan.runtime.plugins import AnyController, Settings


def controllers(settings: "Settings") -> "list[Controller]":
    """What the entry point of the family stands for. The import is late, for the command line passes here too."""
    import structlog

    from nodespan.controllers.config import metrics
    from nodespan.controllers.config.files.controller import FileController
    from nodespan.runtime.plugins import load_installed

    def new_controllers() -> "list[AnyController]":
        return load_installed(settings, structlog.get_logger())

    settings.publish(metrics.METRICS)
    return [
        FileController(
            *settings.config,
            state_dir=settings.state_dir,
            leaving=settings.leaving,
            settled=settings.settled,
            new_controllers=new_controllers,
            mounts=settings.mounts,
        )
    ]
