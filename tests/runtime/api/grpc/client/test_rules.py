"""The pure parts: messages out of bytes, times and texts of the wire."""

import math

import hypothesis.strategies as st
import pytest
from hypothesis import given

from nodespan.runtime.api.grpc import Code, RPCError, frame
from nodespan.runtime.api.grpc.framing import MessageReader
from nodespan.runtime.api.grpc.status import decode_text, encode_text, format_timeout, parse_code, parse_timeout


@given(st.lists(st.binary(max_size=40), max_size=8), st.lists(st.integers(1, 30), max_size=40))
def test_a_body_is_cut_into_its_messages_however_it_comes(messages: list[bytes], sizes: list[int]) -> None:
    body = b"".join(map(frame, messages))
    reader = MessageReader(40)
    at = 0
    for size in (*sizes, len(body)):
        reader.feed(body[at : at + size])
        at = min(len(body), at + size)
        assert len(reader) == at
    taken = []
    while (message := reader.take()) is not None:
        taken.append(message)
    assert taken == messages
    assert (len(reader), reader.is_between, reader.has_message) == (0, True, False)


def test_a_message_that_is_too_large_is_recognized_by_its_prefix() -> None:
    reader = MessageReader(10)
    reader.feed(frame(bytes(10)) + b"\0\0\0")
    assert not reader.is_between
    with pytest.raises(RPCError, match="the message has 11 bytes, at most 10 are taken"):
        reader.feed(b"\0\x0b")
    assert reader.take() == bytes(10)


@given(st.floats(min_value=1e-9, max_value=3e11))
def test_a_timeout_is_never_sent_shorter_and_hardly_longer(seconds: float) -> None:
    text = format_timeout(seconds)
    assert len(text) <= 9
    assert seconds * (1 - 1e-9) <= parse_timeout(text) <= seconds * 1.0001 + 1e-9


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0n"), (-5, "0n"), (0.05, "50000000n"), (1, "1000000u"), (99.5, "99500000u"), (3600, "3600000m")],
)
def test_timeouts(seconds: float, text: str) -> None:
    assert format_timeout(seconds) == text
    assert format_timeout(1e30) == "99999999H"


@given(st.text())
def test_a_text_comes_back(text: str) -> None:
    assert decode_text(encode_text(text)) == text.encode("utf-8", "replace").decode("utf-8")


def test_codes() -> None:
    assert [parse_code(text) for text in ("0", "14", "17", "-1", "x", "")] == [
        Code.OK,
        Code.UNAVAILABLE,
        *[Code.UNKNOWN] * 4,
    ]
    assert math.isfinite(max(Code))
