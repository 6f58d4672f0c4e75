"""Messages in bodies."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from nodespan.runtime.api.grpc import Code, RPCError, frame
from nodespan.runtime.api.grpc.framing import OneMessage


@given(st.binary(max_size=100), st.integers(1, 20))
def test_a_message_arrives_however_it_is_cut(message: bytes, size: int) -> None:
    body = OneMessage(100)
    framed = frame(message)
    for start in range(0, len(framed), size):
        body.feed(framed[start : start + size])
    assert body.take() == message


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x01\x00\x00\x00\x00", Code.UNIMPLEMENTED),
        (b"\x07\x00\x00\x00\x00", Code.UNIMPLEMENTED),
        (b"\x00\x00\x00\x00\x65", Code.RESOURCE_EXHAUSTED),
        (b"\x00\xff\xff\xff\xff", Code.RESOURCE_EXHAUSTED),
        (frame(b"one") + b"\x00", Code.INTERNAL),
    ],
)
def test_what_cannot_become_one_message_is_refused_early(data: bytes, code: Code) -> None:
    with pytest.raises(RPCError) as caught:
        OneMessage(100).feed(data)
    assert caught.value.code is code


@pytest.mark.parametrize("data", [b"", b"\x00", frame(b"message")[:-1]])
def test_a_body_that_ends_early_is_no_message(data: bytes) -> None:
    body = OneMessage(100)
    body.feed(data)
    with pytest.raises(RPCError, match="in the middle"):
        body.take()
