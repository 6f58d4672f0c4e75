"""The errors of etcd, and the reading of its error answers. Texts name members and reasons, never values."""

import json
from collections.abc import Mapping
from typing import Any

from nodespan.runtime.escaping import bounded

# The gRPC status codes that etcd's errors carry.
_UNKNOWN = 2
_DEADLINE_EXCEEDED = 4
_NOT_FOUND = 5
_PERMISSION_DENIED = 7
_OUT_OF_RANGE = 11
_INTERNAL = 13
_UNAVAILABLE = 14
_UNAUTHENTICATED = 16

# With these another member may answer; for codes that stand for anything, the text decides.
_OF_THE_MEMBER = frozenset({_DEADLINE_EXCEEDED, _UNAVAILABLE})
_TEXTS_OF_THE_MEMBER = ("no leader", "request timed out", "context deadline exceeded", "transport is closing")
_HTTP_OF_THE_MEMBER = frozenset({502, 503, 504})


class EtcdError(Exception):
    """Any failure of a request to etcd."""


class EndpointError(ValueError):
    """The text is not the endpoint of an etcd member."""


class TLSFilesError(EtcdError):
    """The files for TLS cannot be used; the text has the file and the reason."""


class MemberFailedError(EtcdError):
    """One member did not answer as a healthy one does; another may. `was_sent`: the request may have been applied."""

    def __init__(self, text: str, *, was_sent: bool = True) -> None:
        super().__init__(text)
        self.was_sent = was_sent


class UnavailableError(EtcdError):
    """No member answered in time; `reasons` of each. `maybe_applied`: the request may have been applied."""

    def __init__(self, reasons: Mapping[str, str], *, maybe_applied: bool = False) -> None:
        said = "; ".join(f"{endpoint}: {reason}" for endpoint, reason in reasons.items())
        super().__init__(f"etcd is not available: {said}")
        self.reasons = dict(reasons)
        self.maybe_applied = maybe_applied


class RefusedError(EtcdError):
    """etcd answered with a refusal; `code` is the gRPC status."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(f"etcd refuses: {text}")
        self.code = code


class AuthError(RefusedError):
    """This client is not authorised, or not authenticated."""


class CompactedError(EtcdError):
    """The requested history is compacted: read the keys, and watch from there. `revision`: the oldest, 0 if unknown."""

    def __init__(self, revision: int = 0) -> None:
        super().__init__("etcd has forgotten this part of its history (it was compacted)")
        self.revision = revision


class HistoryError(EtcdError):
    """etcd's history contradicts what was seen so far: it was restored, or is another cluster."""


class LeaseGoneError(EtcdError):
    """The lease is over."""


class NotLeaderError(EtcdError):
    """The candidate's key is not in the election any more."""


def answer_error(status: int, content_type: str, body: bytes) -> EtcdError:
    """The error in an answer whose HTTP status is not 200."""
    if not content_type.startswith("application/json"):
        return _by_status(
            status, f"it does not answer like etcd: HTTP {status} ({bounded(content_type) or 'no content type'})"
        )
    try:
        answer = json.loads(body)
        return object_error(answer, status)
    except (ValueError, TypeError, AttributeError):
        return _by_status(status, f"it does not answer like etcd: HTTP {status} with something else than an error")


def object_error(answer: Mapping[str, Any], status: int = 200) -> EtcdError:
    """The error in an unary answer or in an object of a stream, in the forms of etcd before and since 3.6."""
    inner = answer.get("error")
    fields: Mapping[str, Any] = inner if isinstance(inner, dict) else answer
    text = str(fields.get("message") or (inner if isinstance(inner, str) else "") or f"HTTP {status} without a reason")
    return _classified(text, int(fields.get("grpc_code") or fields.get("code") or _UNKNOWN), status)


def _classified(text: str, code: int, status: int) -> EtcdError:
    plain = bounded(text.removeprefix("etcdserver: "))
    if code == _NOT_FOUND and "lease not found" in text:
        return LeaseGoneError(plain)
    if code == _OUT_OF_RANGE and "compacted" in text:
        return CompactedError()
    if code in (_PERMISSION_DENIED, _UNAUTHENTICATED):
        return AuthError(plain, code)
    vague = code in (_UNKNOWN, _INTERNAL) and any(known in text for known in _TEXTS_OF_THE_MEMBER)
    if code in _OF_THE_MEMBER or vague or status in _HTTP_OF_THE_MEMBER:
        return MemberFailedError(plain)
    return RefusedError(plain, code)


def _by_status(status: int, text: str) -> EtcdError:
    if status in (401, 403):
        return AuthError(text, _UNAUTHENTICATED)
    return MemberFailedError(text)
