"""The text forms of statuses and deadlines."""

from urllib.parse import unquote

import hypothesis.strategies as st
import pytest
from hypothesis import given

from nodespan.runtime.api.grpc import Code, Status
from nodespan.runtime.api.grpc.status import encode_text, parse_timeout


@pytest.mark.parametrize(
    ("text", "encoded"),
    [
        ("plain, text: ok?!", "plain, text: ok?!"),
        ("100%", "100%25"),
        ("a\nb", "a%0Ab"),
        ("größe", "gr%C3%B6%C3%9Fe"),
        ("~\x7f", "~%7F"),
    ],
)
def test_text_is_percent_encoded_outside_of_printable_ascii(text: str, encoded: str) -> None:
    assert encode_text(text) == encoded


@given(st.text())
def test_any_text_arrives(text: str) -> None:
    encoded = encode_text(text)
    assert encoded.isascii()
    assert encoded.isprintable()
    assert unquote(encoded) == text.encode("utf-8", "replace").decode()


def test_a_status_without_text_has_no_field_for_it() -> None:
    assert Status(Code.OK).trailers() == (("grpc-status", "0"),)
    assert Status(Code.ABORTED, "x").trailers() == (("grpc-status", "10"), ("grpc-message", "x"))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1H", 3600), ("2M", 120), ("30S", 30), ("1500m", 1.5), ("250000u", 0.25), ("99999999n", 0.099999999), ("0S", 0)],
)
def test_timeouts_have_a_unit(text: str, seconds: float) -> None:
    assert parse_timeout(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "1", "S", "-1S", "1.5S", "123456789S", "1s", "1S ", "\u0661S"])
def test_other_timeouts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="grpc-timeout"):
        parse_timeout(text)
