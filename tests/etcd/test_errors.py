"""What etcd's statuses mean."""

import pytest

from nodespan.etcd.errors import (
    AuthError,
    CompactedError,
    EtcdError,
    LeaseGoneError,
    MemberFailedError,
    RefusedError,
    UnavailableError,
    cancel_error,
    status_error,
)


@pytest.mark.parametrize(
    ("text", "code", "kind", "said"),
    [
        ("etcdserver: requested lease not found", 5, LeaseGoneError, "requested lease not found"),
        ("etcdserver: mvcc: required revision has been compacted", 11, CompactedError, "compacted"),
        ("etcdserver: mvcc: required revision is a future revision", 11, RefusedError, "future"),
        ("etcdserver: key is not provided", 3, RefusedError, "etcd refuses: key is not provided"),
        ("etcdserver: permission denied", 7, AuthError, "permission denied"),
        ("etcdserver: invalid auth token", 16, AuthError, "invalid auth token"),
        ("etcdserver: user name is empty", 3, AuthError, "user name is empty"),
        ("etcdserver: authentication failed, invalid user ID or password", 3, AuthError, "authentication failed"),
        ("etcdserver: no leader", 14, MemberFailedError, "^no leader$"),
        ("etcdserver: request timed out", 14, MemberFailedError, "^request timed out$"),
        ("etcdserver: rpc not supported for learner", 9, MemberFailedError, "learner"),
        ("context deadline exceeded", 2, MemberFailedError, "deadline"),
        ("election: no leader", 2, MemberFailedError, "no leader"),
        ("something unheard of", 2, RefusedError, "unheard of"),
        ("etcdserver: mvcc: database space exceeded", 8, RefusedError, "space exceeded"),
    ],
)
def test_a_status_becomes_its_exception(text: str, code: int, kind: type[EtcdError], said: str) -> None:
    error = status_error(text, code)
    assert type(error) is kind
    with pytest.raises(kind, match=said):
        raise error


@pytest.mark.parametrize(
    ("reason", "kind", "said"),
    [
        ("rpc error: code = PermissionDenied desc = etcdserver: permission denied", AuthError, "permission denied$"),
        ("rpc error: code = Unavailable desc = etcdserver: no leader", MemberFailedError, "^no leader$"),
        ("rpc error: code = Future desc = unheard of", RefusedError, "unheard of"),
        ("mvcc: watcher range is empty", RefusedError, "etcd refuses: mvcc: watcher range is empty"),
        ("", RefusedError, "it has cancelled the watch"),
    ],
)
def test_the_reason_of_a_cancelled_watch_becomes_its_exception(reason: str, kind: type[EtcdError], said: str) -> None:
    error = cancel_error(reason)
    assert type(error) is kind
    with pytest.raises(kind, match=said):
        raise error


def test_an_unavailable_cluster_names_each_member_with_its_reason() -> None:
    error = UnavailableError({"http://a:1": "connection refused", "http://b:1": "no leader"}, maybe_applied=True)
    assert str(error) == "etcd is not available: http://a:1: connection refused; http://b:1: no leader"
    assert error.maybe_applied


def test_a_text_of_etcd_is_bounded_and_fit_for_a_terminal() -> None:
    hostile = "\x1b[2J" + "x" * 10_000
    for error in (
        status_error(f"etcdserver: {hostile}", 3),
        status_error(hostile, 14),
        status_error(hostile, 13),
        cancel_error(hostile),
    ):
        assert str(error).isprintable()
        assert len(str(error)) < 400
