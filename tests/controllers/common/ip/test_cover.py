"""Elements of sets: the prefixes that no other contains, kept up to date change by change."""

from hypothesis import given
from hypothesis import strategies as st

from nodespan.controllers.common.ip.cover import PrefixCover, PrefixKey, prefix_key

OWNERS = st.sampled_from(["a", "b", "c"])
# Few bits, so that prefixes do contain each other.
V4_PREFIXES = st.builds(
    lambda bits, length: prefix_key(f"{bits}.0.0.0/{length}"), st.integers(0, 255), st.integers(0, 10)
)


def expected(owned: dict[str, list[PrefixKey]]) -> set[PrefixKey]:
    every = {prefix for prefixes in owned.values() for prefix in prefixes}
    return {prefix for prefix in every if not any(prefix != other and prefix.within(other) for other in every)}


@given(st.lists(st.tuples(OWNERS, st.lists(V4_PREFIXES, max_size=6)), max_size=12))
def test_elements_are_what_nothing_else_contains(changes: list[tuple[str, list[PrefixKey]]]) -> None:
    cover = PrefixCover()
    owned: dict[str, list[PrefixKey]] = {}
    for owner, prefixes in changes:
        before = set(cover.elements)
        cover.put(owner, prefixes)
        owned[owner] = prefixes
        assert set(cover.elements) == expected(owned)
        assert before ^ set(cover.elements) <= cover.take()
    for owner in owned:
        cover.put(owner, ())
    assert not cover.elements
    assert not cover


def test_families_are_apart() -> None:
    cover = PrefixCover()
    cover.put("a", [prefix_key("0.0.0.0/0"), prefix_key("::/0"), prefix_key("2001:db8::/32")])
    assert cover.elements == {prefix_key("0.0.0.0/0"), prefix_key("::/0")}


def test_a_prefix_knows_its_text() -> None:
    key = prefix_key("10.1.2.3/8")
    assert (key.address, key.length, key.is_address) == ("10.0.0.0", 8, False)
    assert prefix_key("2001:db8::1").is_address
