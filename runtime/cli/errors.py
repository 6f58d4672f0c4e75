"""Errors that the command line shows to its user."""


class CommandError(Exception):
    """Ends the command with exit status 1 and this text, which says what, where and what to do."""


__all__ = [
    "CommandError",
]
