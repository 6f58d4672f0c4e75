"""The error classes of the state and of the controllers that use it.

A caller tells them apart by class; `concerns` narrows one to a kind. The texts name the resource and the reason, never
a spec, so that no secret can travel in an error.
"""

from collections.abc import Iterator


def leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors in a group, however deep; an error that is not a group is its own leaf."""
    if isinstance(error, BaseExceptionGroup):
        for member in error.exceptions:
            yield from leaves(member)
    else:
        yield error


class StateError(Exception):
    """Base of the refusals of a state. `namespace` and `type` name the kind concerned, "" if there is none."""

    def __init__(self, message: str, *, namespace: str = "", type: str = "") -> None:
        super().__init__(message)
        self.namespace = namespace
        self.type = type

    def concerns(self, *, namespace: str | None = None, type: str | None = None) -> bool:
        """Whether the error is about this namespace and type; None stands for any."""
        return namespace in (None, self.namespace) and type in (None, self.type)


class NotFoundError(StateError):
    """The addressed resource does not exist."""


class ConflictError(StateError):
    """The resource exists already, its version differs, or it has finalizers."""


class OwnerConflictError(ConflictError):
    """The resource belongs to another owner."""


class PhaseConflictError(ConflictError):
    """The resource is not in the phase that the caller expected."""


class InvalidBookmarkError(StateError):
    """The bookmark is malformed, of another state, too old, or in the future."""


class UnsupportedError(StateError):
    """This kind of state lacks the feature."""


class UnavailableError(StateError):
    """The state cannot be written now: it is out of reach, its disk is full, or it is closed. Reads go on."""


class RefusedError(StateError, ValueError):
    """A state elsewhere refused, for a reason that has no class of its own."""


class WatchOptionsError(StateError):
    """Options of one watch that exclude each other."""


class OverrunError(StateError):
    """The watcher fell behind the history; it must list the kind again."""


class AccessError(StateError):
    """A controller accessed a kind that it did not declare, or a client one that the state's filter denies."""


class SpecError(StateError):
    """A spec is not of its type's class, or a field of it is not what the class says."""


class StateOpenError(Exception):
    """A state cannot be opened; the text says why, and what to do."""


class ForgottenAwaitError(Exception):
    """A controller called an asynchronous function without `await`: it was never run."""


class RegistrationError(Exception):
    """A controller, an input, an output or a resource type cannot be registered; the text says why."""


__all__ = [
    "AccessError",
    "ConflictError",
    "ForgottenAwaitError",
    "InvalidBookmarkError",
    "NotFoundError",
    "OverrunError",
    "OwnerConflictError",
    "PhaseConflictError",
    "RefusedError",
    "RegistrationError",
    "SpecError",
    "StateError",
    "StateOpenError",
    "UnavailableError",
    "UnsupportedError",
    "WatchOptionsError",
    "leaves",
]
