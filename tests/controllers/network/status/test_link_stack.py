"""Which links are looked at when one changes."""

import pytest

from nodespan.controllers.network.status.link_stack import LinkStack
from nodespan.kernel.links import KernelLink
from nodespan.resources.network import LinkStatusSpec, Veth


def link(index: int, *, parent: int = 0, master: int = 0, elsewhere: bool = False, veth: bool = False) -> KernelLink:
    status = LinkStatusSpec(
        index=index, link_index=parent, master_index=master, veth=Veth() if veth or elsewhere else None
    )
    return KernelLink(name=f"l{index}", status=status, parent_is_elsewhere=elsewhere)


LINKS = {
    each.status.index: each
    for each in (
        link(1),
        # A bond of 2 and 3 with a VLAN on it, which is a port of a bridge.
        link(2, master=4),
        link(3, master=4),
        link(4),
        link(5, parent=4, master=6),
        link(6),
        # A veth pair, and one whose other end bears the number of the bond in another namespace.
        link(7, parent=8, veth=True),
        link(8, parent=7, veth=True),
        link(9, parent=4, elsewhere=True),
    )
}


@pytest.mark.parametrize(
    ("changed", "looked_at"),
    [
        ({1}, {1}),
        ({2}, {2, 4, 5, 6}),
        ({4}, {4, 5, 6}),
        ({5}, {5, 6}),
        ({6}, {6}),
        ({7}, {7, 8}),
        ({9}, {9}),
        ({1, 9}, {1, 9}),
        (set(), set()),
    ],
)
def test_a_change_is_seen_in_everything_that_rests_on_the_link(changed: set[int], looked_at: set[int]) -> None:
    stack = LinkStack()
    assert stack.note(LINKS, LINKS) == LINKS.keys()
    assert stack.note(LINKS, changed) == looked_at


def test_the_master_that_a_link_left_is_looked_at_once() -> None:
    stack = LinkStack()
    stack.note(LINKS, LINKS)
    free = {**LINKS, 2: link(2)}
    assert stack.note(free, {2}) == {2, 4, 5, 6}
    assert stack.note(free, {2}) == {2}


def test_a_link_that_is_gone_is_looked_at_with_what_rested_on_it() -> None:
    stack = LinkStack()
    stack.note(LINKS, LINKS)
    rest = {index: each for index, each in LINKS.items() if index != 4}
    assert stack.note(rest, {4}) >= {4, 5, 6}
    assert stack.note(rest, {5}) == {5, 6}
