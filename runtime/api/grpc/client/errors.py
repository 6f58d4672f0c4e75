"""How a call fails, and what the failures below gRPC are as its statuses."""

import enum
from collections.abc import Sequence

from h2.errors import ErrorCodes

from nodespan.runtime.api.grpc.client.endpoint import Endpoint
from nodespan.runtime.api.grpc.status import Code, RPCError
from nodespan.runtime.text.escaping import bounded

Metadata = Sequence[tuple[str, str]]

_LONGEST_STATUS = 20
# By the documents of gRPC: for a server, or a proxy before it, that speaks HTTP but not gRPC.
_HTTP_CODES = {
    400: Code.INTERNAL,
    401: Code.UNAUTHENTICATED,
    403: Code.PERMISSION_DENIED,
    404: Code.UNIMPLEMENTED,
    429: Code.UNAVAILABLE,
    502: Code.UNAVAILABLE,
    503: Code.UNAVAILABLE,
    504: Code.UNAVAILABLE,
}
_RESET_CODES = {
    ErrorCodes.REFUSED_STREAM: Code.UNAVAILABLE,
    ErrorCodes.CANCEL: Code.CANCELLED,
    ErrorCodes.ENHANCE_YOUR_CALM: Code.RESOURCE_EXHAUSTED,
    ErrorCodes.INADEQUATE_SECURITY: Code.PERMISSION_DENIED,
}


class Stage(enum.StrEnum):
    """The step of a call that failed."""

    LOOKUP = "lookup"
    PROXY = "proxy"
    TCP = "tcp"
    TLS = "tls"
    HTTP = "http"
    DEADLINE = "deadline"
    # The server answered with an error, or with an invalid message.
    SERVICE = "service"


class CallError(RPCError):
    """A call failed. A handler that lets it pass fails with the same status.

    `is_unsent`: the server certainly has not begun with the call. `trailers` are there if the status is the server's.
    `endpoint` is the last one that was tried. The cause, if there is one, is what the system or OpenSSL said.
    """

    def __init__(
        self,
        code: Code,
        text: str,
        stage: Stage = Stage.SERVICE,
        *,
        is_unsent: bool = False,
        trailers: Metadata = (),
        endpoint: Endpoint | None = None,
    ) -> None:
        super().__init__(code, text)
        self.stage = stage
        self.is_unsent = is_unsent
        self.trailers = tuple(trailers)
        self.endpoint = endpoint

    def again(self) -> "CallError":
        """The same error, with its cause, to be raised somewhere else."""
        same = CallError(
            self.code,
            str(self),
            self.stage,
            is_unsent=self.is_unsent,
            trailers=self.trailers,
            endpoint=self.endpoint,
        )
        same.__cause__ = self.__cause__
        return same


def unreachable(stage: Stage, text: str, endpoint: Endpoint | None = None) -> CallError:
    """The error of a call that got no connection."""
    return CallError(Code.UNAVAILABLE, text, stage, is_unsent=True, endpoint=endpoint)


def of_http_status(status: str, endpoint: Endpoint) -> CallError:
    """The error of a call that got an answer of plain HTTP."""
    code = _HTTP_CODES.get(int(status), Code.UNKNOWN) if status.isascii() and status.isdecimal() else Code.UNKNOWN
    text = f"it answers with HTTP status {bounded(status, _LONGEST_STATUS)}, not like gRPC"
    return CallError(code, text, Stage.HTTP, endpoint=endpoint)


def of_reset(error: ErrorCodes | int, endpoint: Endpoint) -> CallError:
    """The error of a call whose stream the server has reset."""
    code = _RESET_CODES.get(error, Code.INTERNAL) if isinstance(error, ErrorCodes) else Code.INTERNAL
    name = error.name if isinstance(error, ErrorCodes) else f"error {error}"
    text = f"the server has reset the call: {name}"
    return CallError(code, text, is_unsent=error == ErrorCodes.REFUSED_STREAM, endpoint=endpoint)
