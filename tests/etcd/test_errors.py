"""What etcd's error answers mean, in the forms that several versions of its gateway give them."""

import json

import pytest

from nodespan.etcd.errors import (
    AuthError,
    CompactedError,
    EtcdError,
    LeaseGoneError,
    MemberFailedError,
    RefusedError,
    UnavailableError,
    answer_error,
    object_error,
)

JSON = "application/json"


def unary(text: str, code: int) -> bytes:
    return json.dumps({"error": text, "message": text, "code": code}).encode()


@pytest.mark.parametrize(
    ("status", "body", "kind", "said"),
    [
        (404, unary("etcdserver: requested lease not found", 5), LeaseGoneError, "requested lease not found"),
        (400, unary("etcdserver: mvcc: required revision has been compacted", 11), CompactedError, "compacted"),
        (400, unary("etcdserver: mvcc: required revision is a future revision", 11), RefusedError, "future"),
        (400, unary("etcdserver: key is not provided", 3), RefusedError, "etcd refuses: key is not provided"),
        (403, unary("etcdserver: permission denied", 7), AuthError, "permission denied"),
        (401, unary("etcdserver: invalid auth token", 16), AuthError, "invalid auth token"),
        (503, unary("etcdserver: no leader", 14), MemberFailedError, "^no leader$"),
        (503, unary("etcdserver: request timed out", 14), MemberFailedError, "^request timed out$"),
        (500, unary("context deadline exceeded", 2), MemberFailedError, "deadline"),
        (500, unary("election: no leader", 2), MemberFailedError, "no leader"),
        (500, unary("something unheard of", 2), RefusedError, "unheard of"),
        (429, unary("etcdserver: mvcc: database space exceeded", 8), RefusedError, "space exceeded"),
        # The gateway since etcd 3.6 has no `error` field.
        (404, b'{"code": 5, "message": "etcdserver: requested lease not found"}', LeaseGoneError, "lease not found"),
        (500, b"{}", RefusedError, "without a reason"),
        (500, b"[]", MemberFailedError, "does not answer like etcd"),
        (502, b"not json", MemberFailedError, "HTTP 502"),
    ],
)
def test_an_error_in_an_answer_becomes_its_exception(
    status: int, body: bytes, kind: type[EtcdError], said: str
) -> None:
    error = answer_error(status, JSON, body)
    assert type(error) is kind
    with pytest.raises(kind, match=said):
        raise error


@pytest.mark.parametrize(
    ("status", "kind"), [(404, MemberFailedError), (502, MemberFailedError), (401, AuthError), (403, AuthError)]
)
def test_an_answer_that_is_not_json_is_not_from_etcd(status: int, kind: type[EtcdError]) -> None:
    assert type(answer_error(status, "text/plain; charset=utf-8", b"Not Found\n")) is kind


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ({"error": {"grpc_code": 14, "http_code": 503, "message": "transport is closing"}}, MemberFailedError),
        ({"error": {"code": 14, "message": "transport is closing"}}, MemberFailedError),
        ({"error": {"grpc_code": 5, "message": "etcdserver: requested lease not found"}}, LeaseGoneError),
        ({"error": {"grpc_code": 3, "message": "bad"}}, RefusedError),
    ],
)
def test_errors_inside_of_streams_are_read_the_same(answer: dict[str, object], kind: type[EtcdError]) -> None:
    assert type(object_error(answer)) is kind


def test_an_unavailable_cluster_names_each_member_with_its_reason() -> None:
    error = UnavailableError({"http://a:1": "connection refused", "http://b:1": "no leader"}, maybe_applied=True)
    assert str(error) == "etcd is not available: http://a:1: connection refused; http://b:1: no leader"
    assert error.maybe_applied


def test_a_text_of_etcd_is_bounded_and_fit_for_a_terminal() -> None:
    hostile = "\x1b[2J" + "x" * 10_000
    for error in (
        object_error({"error": {"message": f"etcdserver: {hostile}", "code": 3}}),
        answer_error(503, hostile, b""),
        answer_error(500, JSON, json.dumps({"message": hostile, "code": 13}).encode()),
    ):
        assert str(error).isprintable()
        assert len(str(error)) < 400
