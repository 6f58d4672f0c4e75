"""The errors of etcd, and the reading of its statuses. Texts name members and reasons, never values."""

import re
from collections.abc import Mapping

from nodespan.runtime.api.grpc.status import Code
from nodespan.runtime.text.escaping import bounded

# With these another member may answer; for codes that stand for anything, the text decides.
_OF_THE_MEMBER = frozenset({Code.DEADLINE_EXCEEDED, Code.UNAVAILABLE})
_TEXTS_OF_THE_MEMBER = ("no leader", "request timed out", "context deadline exceeded", "transport is closing")
_TEXTS_OF_LEARNERS = frozenset({"rpc not supported for learner"})
# They come with the code of an invalid argument.
_TEXTS_OF_LOGINS = frozenset(
    {"authentication failed, invalid user ID or password", "user name is empty", "revision of auth store is old"}
)
_QUOTED = re.compile(r"rpc error: code = (?P<code>\w+) desc = (?P<text>.*)", re.DOTALL)


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
        listed = "; ".join(f"{endpoint}: {reason}" for endpoint, reason in reasons.items())
        super().__init__(f"etcd is not available: {listed}")
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


def status_error(text: str, code: int) -> EtcdError:
    """The error that a status of etcd stands for."""
    plain = bounded(text.removeprefix("etcdserver: "))
    if code == Code.NOT_FOUND and "lease not found" in text:
        return LeaseGoneError(plain)
    if code == Code.OUT_OF_RANGE and "compacted" in text:
        return CompactedError()
    if code in (Code.PERMISSION_DENIED, Code.UNAUTHENTICATED) or plain in _TEXTS_OF_LOGINS:
        return AuthError(plain, code)
    vague = code in (Code.UNKNOWN, Code.INTERNAL) and any(known in text for known in _TEXTS_OF_THE_MEMBER)
    if code in _OF_THE_MEMBER or vague or plain in _TEXTS_OF_LEARNERS:
        return MemberFailedError(plain)
    return RefusedError(plain, code)


def cancel_error(reason: str) -> EtcdError:
    """The error of a watch that a member has cancelled; it may quote a status in the words of gRPC."""
    quoted = _QUOTED.fullmatch(reason)
    if quoted is None:
        return status_error(reason or "it has cancelled the watch", Code.FAILED_PRECONDITION)
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", quoted["code"]).upper()
    code = Code[name] if name in Code.__members__ else Code.UNKNOWN
    return status_error(quoted["text"], code)
