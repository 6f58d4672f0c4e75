"""Names from servers: compressed ones, and ones that must not get into files."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodespan.controllers.network.dhcp.malformed import MalformedError
from nodespan.controllers.network.dhcp.names import checked_name, parse_names, text_of
from nodespan.controllers.network.dhcp.options import Items


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
    assert parse_names(data) == Items(names)


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
def test_what_is_not_a_name_is_left_out_and_named(data: bytes) -> None:
    found = parse_names(data)
    assert found.valid == ()
    assert len(found.errors) == 1


@pytest.mark.parametrize(
    ("data", "valid", "errors"),
    [
        (b"\3one\0\5a b c\0\3two\0", ("one", "two"), 1),
        (b"\1\xff\0\3one\0\0\3two\0", ("one", "two"), 2),
        (b"\3a.b\0\3two\0", ("two",), 1),
        # Where the next one begins is not known.
        (b"\3one\0\x80a\0\3two\0", ("one",), 1),
        (b"\3one\0\3tw", ("one",), 1),
    ],
)
def test_an_invalid_name_does_not_drop_the_others(data: bytes, valid: tuple[str, ...], errors: int) -> None:
    found = parse_names(data)
    assert (found.valid, len(found.errors)) == (valid, errors)


@given(st.binary(max_size=100))
def test_names_from_random_bytes_are_harmless(data: bytes) -> None:
    assert all(name and not set(name) & set(" \n\t#;\0") for name in parse_names(data).valid)


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
