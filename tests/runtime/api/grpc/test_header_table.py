"""Blocks of header fields say what they say to hpack, and what is looked up is what would be read."""

import hypothesis.strategies as st
import pytest
from hpack import Decoder, Encoder
from hpack.exceptions import HPACKDecodingError, HPACKError, OversizedHeaderListError
from hypothesis import given, settings

from nodespan.runtime.api.grpc.header_table import EMPTY, read_block

_NAMES = st.sampled_from((":path", "content-type", "x", "user-agent", "a-longer-name", "cookie"))
_FIELD = st.tuples(_NAMES, st.sampled_from(("", "1", "application/grpc", "y" * 100, "\x7f ~", "z" * 3000)))
_STEP = st.tuples(st.lists(_FIELD, max_size=6), st.sampled_from((None, None, None, 0, 100, 4096)))


@settings(max_examples=30, deadline=None)
@given(st.lists(_STEP, max_size=8))
def test_what_an_encoder_writes_is_read_as_hpack_reads_it(
    steps: list[tuple[list[tuple[str, str]], int | None]],
) -> None:
    encoder, decoder, table = Encoder(), Decoder(), EMPTY
    for fields, limit in steps:
        if limit is not None:
            encoder.header_table_size = limit
        block = encoder.encode(fields)
        headers, table = read_block(table, block, 1 << 16, is_request=False)
        assert headers == tuple((str(name), str(value)) for name, value in decoder.decode(block))
        assert list(table.entries) == list(decoder.header_table.dynamic_entries)
        assert (table.size, table.limit) == (decoder.header_table._current_size, decoder.header_table_size)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.binary(max_size=30), max_size=4))
def test_any_bytes_are_read_or_refused_as_by_hpack(blocks: list[bytes]) -> None:
    decoder, table = Decoder(), EMPTY
    for block in blocks:
        try:
            expected = tuple(
                (bytes(name).decode("latin-1"), bytes(value).decode("latin-1"))
                for name, value in decoder.decode(block, raw=True)
            )
        except HPACKError:
            with pytest.raises(HPACKDecodingError):
                read_block(table, block, 1 << 16, is_request=False)
            return
        try:
            headers, table = read_block(table, block, 1 << 16, is_request=False)
        except HPACKDecodingError as error:
            if "more than twice" in str(error):
                return  # hpack allows any number
            raise
        assert headers == expected


def test_the_limit_of_the_table_changes_twice_at_most_in_a_block() -> None:
    field = b"\x82"
    headers, table = read_block(EMPTY, b"\x20\x3f\x45" + field, 1000, is_request=False)
    assert (headers, table.limit) == (((":method", "GET"),), 100)
    for changes in (3, 60_000):
        with pytest.raises(HPACKDecodingError, match="more than twice"):
            read_block(EMPTY, b"\x20" * changes + field, 1000, is_request=False)


def test_connections_of_the_same_program_share_what_they_said() -> None:
    fields = [(":method", "POST"), (":scheme", "http"), (":path", "/a.B/C"), ("user-agent", "grpc-go/1.85.0")]
    first, second = (Encoder().encode(fields) for _ in range(2))
    one = read_block(EMPTY, first, 1000, is_request=True)
    other = read_block(EMPTY, second, 1000, is_request=True)
    assert one[0] is other[0]
    assert one[1] is other[1]
    assert len(one[1].entries) == 2


def test_fields_of_too_many_bytes_are_refused_each_time() -> None:
    block = Encoder().encode([("x", "y" * 50)] * 10)
    for _ in range(2):
        with pytest.raises(OversizedHeaderListError):
            read_block(EMPTY, block, 500, is_request=False)


def test_a_number_without_end_is_refused() -> None:
    for block in (b"\xff" * 20, b"\x40", b"\x00\x05ab", b"\x82\x20", b"\x3f\xff\x7f", b"\x80"):
        with pytest.raises(HPACKDecodingError):
            read_block(EMPTY, block, 500, is_request=False)
