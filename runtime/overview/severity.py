"""Severity: how much what is found matters."""

import enum


class Severity(enum.StrEnum):
    """Whether it is news only, may need attention, or means that something does not work."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


__all__ = [
    "Severity",
]
