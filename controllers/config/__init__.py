"""From the text of a machine configuration to its typed value: reading, checking, showing what is wrong with it."""

from controllers.config.check import check_file
from controllers.config.machine_config import FileController
from runtime.controller import Controller
from runtime.plugins import Settings


def controllers(settings: Settings) -> list[Controller]:
    """What the entry point of the family stands for: without a file there is nothing to read."""
    return [] if settings.config is None else [FileController(settings.config, leaving=settings.leaving)]


__all__ = ["FileController", "check_file", "controllers"]
