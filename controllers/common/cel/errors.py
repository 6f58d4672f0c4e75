"""What can be wrong with an expression."""


class ExpressionError(ValueError):
    """An invalid expression, or one that cannot be computed for a link; `position` counts characters from 0."""

    def __init__(self, message: str, position: int) -> None:
        super().__init__(message)
        self.message = message
        self.position = position


class CelValueError(ValueError):
    """A value that cannot be computed, as a quotient by zero. The caller, who knows the position, raises the other."""
