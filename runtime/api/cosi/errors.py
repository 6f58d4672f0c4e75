"""Which status of gRPC an error of the state becomes, by method; a client turns it back by the same table.

The first line that fits counts. What is in no line is UNKNOWN, with the error's text.

    error              Get, List          Create             Update               Destroy, Teardown...
    not found          NOT_FOUND          NOT_FOUND          NOT_FOUND            NOT_FOUND
    another owner                         PERMISSION_DENIED  PERMISSION_DENIED    PERMISSION_DENIED
    another phase                                            INVALID_ARGUMENT     FAILED_PRECONDITION
    other conflicts                       ALREADY_EXISTS     FAILED_PRECONDITION  FAILED_PRECONDITION

An invalid bookmark is FAILED_PRECONDITION, denied access PERMISSION_DENIED, a query that cannot be run
INVALID_ARGUMENT.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from nodespan.runtime.api.grpc import Code, RPCError
from nodespan.runtime.codec.resources import QueryError, UnknownOperationError
from nodespan.runtime.errors import (
    AccessError,
    ConflictError,
    InvalidBookmarkError,
    NotFoundError,
    OwnerConflictError,
    PhaseConflictError,
    StateError,
)

Classes = Sequence[tuple[type[Exception], Code]]

_NOT_FOUND = (NotFoundError, Code.NOT_FOUND)
_OWNER = (OwnerConflictError, Code.PERMISSION_DENIED)
_EVERYWHERE: Classes = (
    (AccessError, Code.PERMISSION_DENIED),
    (UnknownOperationError, Code.UNIMPLEMENTED),
    (QueryError, Code.INVALID_ARGUMENT),
)
_GONE: Classes = (_NOT_FOUND, _OWNER, (ConflictError, Code.FAILED_PRECONDITION))
CLASSES: dict[str, Classes] = {
    "Get": (_NOT_FOUND,),
    "List": (_NOT_FOUND,),
    "Create": (_NOT_FOUND, _OWNER, (ConflictError, Code.ALREADY_EXISTS)),
    "Update": (
        _NOT_FOUND,
        _OWNER,
        (PhaseConflictError, Code.INVALID_ARGUMENT),
        (ConflictError, Code.FAILED_PRECONDITION),
    ),
    "Destroy": _GONE,
    "Teardown": _GONE,
    "TeardownAndDestroy": _GONE,
    "Watch": ((InvalidBookmarkError, Code.FAILED_PRECONDITION),),
}


@contextmanager
def classified(method: str) -> Iterator[None]:
    """Raise errors of the state as what the clients of this method are told."""
    try:
        yield
    except (StateError, ValueError) as error:
        code = next((code for cls, code in (*_EVERYWHERE, *CLASSES[method]) if isinstance(error, cls)), Code.UNKNOWN)
        raise RPCError(code, str(error)) from error
