"""Names from servers: compressed ones, and ones that must not get into files."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodespan.controllers.network.dhcp.malformed import MalformedError
from nodespan.controllers.network.dhcp.names import checked_name, parse_names, text_of


@pytest.mark.parametrize(
    ("data", "names"),
    [
        (b"", ()),
        (b"\3one\7example\0", ("one.example",)),
        (b"\3one\7example\0\3two\xc0\4", ("one.example", "two.example")),
        # A pointer to what itself ends in a pointer.
        (b"\1a\0\1b\xc0\0\1c\xc0\3", ("a", "b.a", "c.b.a")),
    ],
)
def test_names_are_read(data: bytes, names: tuple[str, ...]) -> None:
    assert parse_names(data) == names


@pytest.mark.parametrize(
    "data",
    [
        b"\3on",
        b"\3one",
        b"\xc0",
        b"\xc0\0",  # points to itself
        b"\1a\xc0\2",
        b"\1a\xc0\0",  # in a circle
        b"\x80a\0",
        b"\0",
        b"\5a b c\0",
        b"\4a\nb.\0",
        b"\1\xff\0",
        b"\1a" * 200 + b"\0",
    ],
)
def test_what_is_no_name_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_names(data)


@given(st.binary(max_size=100))
def test_rubbish_is_malformed_or_harmless(data: bytes) -> None:
    try:
        names = parse_names(data)
    except MalformedError:
        return
    assert all(name and not set(name) & set(" \n\t#;\0") for name in names)


@pytest.mark.parametrize("name", ["node7", "node-7.example.org", "a_b.example", "x" * 63])
def test_good_names_pass(name: str) -> None:
    assert checked_name(name) == checked_name(name + ".") == name


@pytest.mark.parametrize(
    "name", ["", ".", "-a", "a-", "a..b", "x" * 64, "a b", "a\nb", "a;b", "é", "$(id)", ".".join(["abc"] * 64)]
)
def test_bad_names_do_not(name: str) -> None:
    with pytest.raises(MalformedError):
        checked_name(name)


def test_text_may_end_in_zeros_and_must_be_text() -> None:
    assert text_of(b"node7\0\0") == "node7"
    with pytest.raises(MalformedError):
        text_of(b"\xff")
