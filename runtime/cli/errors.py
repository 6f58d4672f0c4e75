"""What the command line tells its user when it cannot do what was asked."""


class CommandError(Exception):
    """Ends the command with exit status 1 and this text, which says what, where and what to do."""


__all__ = [
    "CommandError",
]
