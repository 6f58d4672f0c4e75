"""Links by their names, and who asked for which."""

from collections.abc import Hashable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from nodespan.controllers.network.apply.interests import Interests, LinkAtIndex, LinkNamed, NotedItems, NotedLinks
from nodespan.kernel.link_lookup import LinkLookup, LinkTable
from nodespan.kernel.links import KernelLink
from nodespan.resources.network import LinkStatusSpec

NAMES = st.sampled_from(("a", "b", "c", "d"))


def link(name: str, index: int, **fields: Any) -> KernelLink:
    return KernelLink(name=name, status=LinkStatusSpec(index=index, **fields))


LINKS = st.builds(
    link,
    NAMES,
    st.integers(1, 5),
    alias=st.one_of(st.just(""), NAMES),
    alt_names=st.lists(NAMES, max_size=2, unique=True).map(tuple),
    master_index=st.integers(0, 5),
)


def test_a_real_name_wins_over_the_alias_of_another_link() -> None:
    lookup = LinkLookup({1: link("x", 1, alias="y"), 2: link("y", 2, alt_names=("z",)), 3: link("w", 3, alias="z")})
    assert lookup.find("y") == lookup.at(2)
    assert lookup.find("z") == lookup.at(2)
    assert lookup.real("z") is None
    assert lookup.find("nobody") is None


@given(st.lists(st.tuples(st.integers(1, 5), st.one_of(st.none(), LINKS))))
def test_an_updated_table_equals_a_rebuilt_one(changes: list[tuple[int, KernelLink | None]]) -> None:
    table, links = LinkTable(), dict[int, KernelLink]()
    for index, given_link in changes:
        # Two links never have one name at a time.
        changed = given_link
        if changed is not None and any(each.name == changed.name for at, each in links.items() if at != index):
            changed = None
        before = links.pop(index, None)
        if changed is not None:
            links[index] = changed
        names = table.set(index, changed)
        for each in (before, changed):
            if each is not None:
                assert {each.name, *each.status.alt_names} <= names
    fresh = LinkTable(links)
    assert dict(table) == links == dict(fresh)
    for name in ("a", "b", "c", "d"):
        assert LinkLookup(table).find(name) == LinkLookup(fresh).find(name)
    for index in range(6):
        assert table.members(index) == fresh.members(index)
        assert all(each.status.master_index == index for each in table.members(index))


def test_every_lookup_is_recorded_even_if_nothing_is_found() -> None:
    noted: set[Hashable] = set()
    links = NotedLinks(LinkTable({1: link("x", 1)}), noted)
    items = NotedItems({"k": 1}, noted)
    lookup = LinkLookup(links)
    assert lookup.find("x") is not None
    assert lookup.find("later") is None
    assert lookup.at(7) is None
    assert (items.get("k"), items.get("other")) == (1, None)
    assert noted == {LinkNamed("x"), LinkNamed("later"), LinkAtIndex(7), "k", "other"}


@given(st.lists(st.tuples(st.sampled_from("abc"), st.frozensets(st.integers(0, 4)))))
def test_a_change_wakes_only_its_current_subscribers(notes: list[tuple[str, frozenset[int]]]) -> None:
    interests, last = Interests(), dict[str, frozenset[int]]()
    for id, topics in notes:
        interests.note(id, topics)
        last[id] = topics
    for topic in range(5):
        assert interests.of([topic]) == {id for id, topics in last.items() if topic in topics}
    assert all(interests.topics(id) == topics for id, topics in last.items())
