"""What a client makes of the messages of a service."""

import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodespan.discovery.affiliate import AffiliateData
from nodespan.discovery.ciphers import ClusterCipher
from nodespan.discovery.message_limits import MOST_AFFILIATES, MOST_ENDPOINTS, ExcessError
from nodespan.discovery.view import Change, Rejection, SeenAffiliate, View
from nodespan.discovery.wire import server_pb2
from tests.discovery.samples import KEY, OTHER_KEY, node
from tests.support.vectors import cases

CIPHER = ClusterCipher(KEY, os.urandom)


def entry(id: str, data: AffiliateData | None = None, *endpoints: str) -> server_pb2.Affiliate:
    blobs = [CIPHER.encrypt_endpoint(endpoint) for endpoint in endpoints]
    return server_pb2.Affiliate(id=id, data=CIPHER.encrypt_affiliate(data or node(id)), endpoints=blobs)


def message(*entries: server_pb2.Affiliate, deleted: bool = False) -> server_pb2.WatchResponse:
    return server_pb2.WatchResponse(affiliates=entries, deleted=deleted)


@pytest.mark.parametrize("case", cases("client_view"))
def test_known_event_sequences(case: dict[str, Any]) -> None:
    view = View(case["own_id"], CIPHER)
    blobs = {
        "": b"",
        "x": CIPHER.encrypt_affiliate(node("x")),
        "undecryptable": ClusterCipher(OTHER_KEY, os.urandom).encrypt_affiliate(node("x")),
    }
    for event, known in zip(case["messages"], case["known_after_each"], strict=True):
        if event.get("stream") == "restart":
            view.begin_stream()
        else:
            entries = [server_pb2.Affiliate(id=e["id"], data=blobs[e.get("data", "")]) for e in event["affiliates"]]
            view.receive(message(*entries, deleted=event.get("deleted", False)))
        assert sorted(view.known) == known


def test_a_change_lists_added_changed_and_removed_affiliates() -> None:
    view = View("me", CIPHER)
    assert view.receive(message(entry("a"), entry("b"))) == Change(frozenset({"a", "b"}))
    assert view.receive(message(entry("a"))) == Change()
    assert view.receive(message(entry("a", None, "10.0.0.1:51820"))) == Change(frozenset({"a"}))
    assert view.known["a"] == SeenAffiliate(node("a"), ("10.0.0.1:51820",))
    assert view.receive(message(entry("b"), entry("c"), deleted=True)) == Change(frozenset({"b"}))
    view.begin_stream()
    assert view.receive(message(entry("c"))) == Change(frozenset({"a", "c"}), missing=frozenset({"a"}))


def test_the_endpoints_of_the_node_itself_are_kept_beside_the_view() -> None:
    view = View("me", CIPHER)
    mine = entry("me", None, "203.0.113.7:51820", "203.0.113.7:6000")
    mine.endpoints.append(b"\0" * 16)
    assert view.receive(message(entry("a"), mine)) == Change(frozenset({"a"}))
    assert view.own_endpoints == ("203.0.113.7:51820", "203.0.113.7:6000")
    # News of others say nothing of them; others may have reported before this node announced anything.
    view.receive(message(entry("b")))
    assert view.own_endpoints == ("203.0.113.7:51820", "203.0.113.7:6000")
    view.receive(message(server_pb2.Affiliate(id="me", endpoints=[CIPHER.encrypt_endpoint("203.0.113.7:7000")] * 999)))
    assert set(view.own_endpoints) == {"203.0.113.7:7000"}
    assert len(view.own_endpoints) == MOST_ENDPOINTS
    assert (view.rejected, "me" in view.known) == (0, False)


def test_a_service_that_no_longer_has_this_node_has_no_endpoints_of_it() -> None:
    view = View("me", CIPHER)
    mine = entry("me", None, "203.0.113.7:51820")
    view.receive(message(mine))
    view.receive(message(server_pb2.Affiliate(id="me"), deleted=True))
    assert view.own_endpoints == ()
    view.receive(message(mine))
    view.begin_stream()
    view.receive(message(entry("a")))
    assert view.own_endpoints == ()


def test_entries_of_the_node_itself_are_read_once_and_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    decrypt = ClusterCipher.decrypt_endpoint

    def counted(cipher: ClusterCipher, blob: bytes) -> str:
        read.append(blob)
        return decrypt(cipher, blob)

    monkeypatch.setattr(ClusterCipher, "decrypt_endpoint", counted)
    many = server_pb2.Affiliate(id="me", endpoints=[CIPHER.encrypt_endpoint("203.0.113.7:1")] * MOST_ENDPOINTS)
    last = server_pb2.Affiliate(id="me", endpoints=[CIPHER.encrypt_endpoint("203.0.113.7:2")] * MOST_ENDPOINTS)
    view = View("me", CIPHER)
    slices = list(view.receive_in_slices(message(*[many] * 100, last)))
    assert len(read) == MOST_ENDPOINTS
    assert len(slices) == 1
    assert set(view.own_endpoints) == {"203.0.113.7:2"}


def test_unreadable_affiliates_are_counted_and_reported_and_the_rest_is_kept() -> None:
    view = View("me", CIPHER)
    broken = server_pb2.Affiliate(id="a", data=b"\0" * 40)
    half = entry("b", None, "10.0.0.1:51820")
    half.endpoints.extend([b"", b"\0" * 15])
    change = view.receive(message(broken, half, entry("c")))
    assert change.ids == {"b", "c"}
    assert [(r.affiliate_id, r.is_endpoint) for r in change.rejections] == [("a", False), ("b", True), ("b", True)]
    assert isinstance(change.rejections[0], Rejection)
    assert view.known["b"].endpoints == ("10.0.0.1:51820",)
    assert view.rejected == 3


@pytest.mark.parametrize("case", cases("affiliate_gcm_ignore"))
def test_an_affiliate_without_data_is_not_an_error(case: dict[str, Any]) -> None:
    view = View("me", CIPHER)
    assert view.receive(message(server_pb2.Affiliate(id="a", data=bytes.fromhex(case["blob_hex"])))) == Change()
    assert view.rejected == 0


@given(
    st.lists(
        st.builds(
            server_pb2.WatchResponse,
            affiliates=st.lists(
                st.builds(
                    server_pb2.Affiliate,
                    id=st.sampled_from("abm"),
                    data=st.binary(max_size=60) | st.just(CIPHER.encrypt_affiliate(node("x"))),
                    endpoints=st.lists(st.binary(max_size=40), max_size=3),
                ),
                max_size=4,
            ),
            deleted=st.booleans(),
        )
    )
)
def test_no_message_breaks_a_view(messages: list[server_pb2.WatchResponse]) -> None:
    view = View("m", CIPHER)
    for received in messages:
        before = dict(view.known)
        change = view.receive(received)
        assert {id for id in before.keys() | view.known.keys() if before.get(id) != view.known.get(id)} == change.ids
        assert "m" not in view.known


# A service that lies.


def test_a_message_is_taken_in_slices_and_changes_nothing_before_its_end() -> None:
    view = View("me", CIPHER)
    broken = [server_pb2.Affiliate(id=str(number), data=b"x") for number in range(2000)]
    slices = view.receive_in_slices(message(*broken, entry("a")))
    for _ in range(10):
        next(slices)
        assert not view.known
    with pytest.raises(StopIteration) as end:
        next(slices)
    assert end.value.value.ids == {"a"}
    assert (view.rejected, len(view.unreadable), len(end.value.value.rejections)) == (2000, 2000, 64)


def test_an_affiliate_with_too_many_endpoints_and_a_message_with_too_many_affiliates_are_refused() -> None:
    view = View("me", CIPHER)
    view.receive(message(entry("a")))
    many = server_pb2.Affiliate(id="b", data=b"x", endpoints=[b"x"] * 1000)
    for bad in (message(many), message(*[server_pb2.Affiliate(id="b", data=b"x")] * (MOST_AFFILIATES + 1))):
        with pytest.raises(ExcessError):
            view.receive(bad)
    assert view.known.keys() == {"a"}
    assert view.rejected == 0


def test_a_service_cannot_make_up_ever_more_affiliates_in_small_messages() -> None:
    view = View("me", CIPHER)
    view.receive(message(entry("a")))
    made_up = [server_pb2.Affiliate(id=str(number), data=b"x") for number in range(MOST_AFFILIATES)]
    view.receive(message(*made_up[1:]))
    with pytest.raises(ExcessError):
        view.receive(message(made_up[0]))
    view.receive(message(*made_up[1:100], deleted=True))
    view.receive(message(made_up[0]))


def test_what_cannot_be_read_is_known_until_it_can_or_is_gone() -> None:
    view = View("me", CIPHER)
    broken = [server_pb2.Affiliate(id=id, data=b"x") for id in ("a", "b", "c")]
    view.receive(message(*broken))
    assert view.unreadable.keys() == {"a", "b", "c"}
    view.receive(message(entry("a")))
    view.receive(message(broken[1], deleted=True))
    assert view.unreadable.keys() == {"c"}
    view.begin_stream()
    view.receive(message())
    assert not view.unreadable
