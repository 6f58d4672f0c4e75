"""What a service may tell, counted before it is parsed."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from nodespan.discovery.message_limits import MOST_AFFILIATES, MOST_BYTES, ExcessError, check_message, cut
from nodespan.discovery.wire import server_pb2


def test_a_full_cluster_is_several_times_within_the_limits() -> None:
    entry = server_pb2.Affiliate(id="i" * 256, data=bytes(2048), endpoints=[bytes(32)] * 64)
    check_message(server_pb2.WatchResponse(affiliates=[entry] * 1024, deleted=True).SerializeToString())
    check_message(server_pb2.WatchResponse(affiliates=[server_pb2.Affiliate()] * MOST_AFFILIATES).SerializeToString())


@pytest.mark.parametrize(
    "data",
    [
        b"\x0a\x00" * 1_000_000,
        server_pb2.WatchResponse(
            affiliates=[server_pb2.Affiliate(id="a", data=b"x")] * (MOST_AFFILIATES + 1)
        ).SerializeToString(),
        server_pb2.WatchResponse(
            affiliates=[server_pb2.Affiliate(id="a", endpoints=[b""] * 1_000_000)]
        ).SerializeToString(),
        b"\x10\x01" * 1_000_000,
        b"\x9a\x06\x00" * 1_000_000,
        bytes(MOST_BYTES + 1),
    ],
    ids=["empty affiliates", "affiliates", "endpoints", "the other field", "unknown fields", "bytes"],
)
def test_a_service_that_lies_is_found_out_by_counting(data: bytes) -> None:
    with pytest.raises(ExcessError):
        check_message(data)


@given(st.binary(max_size=200))
def test_what_is_malformed_is_left_to_the_parser(data: bytes) -> None:
    check_message(data)


def test_a_text_of_a_service_is_shown_short_and_escaped() -> None:
    assert cut("plain") == "plain"
    assert cut("a\x1b[31m\n") == "a\\x1b[31m\\n"
    assert len(cut("x" * 10_000)) < 400
