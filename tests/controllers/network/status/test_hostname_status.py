"""What the kernel's names of the node mean, and what its notifications cost that are about other namespaces."""

import os
from collections.abc import Iterator

import pytest
import trio

from nodespan.controllers.network.status.hostname_status import follow_names, split_name
from nodespan.resources.network import HostnameStatusSpec
from tests.support.counting import Steps


@pytest.mark.parametrize(
    ("hostname", "domainname", "shown"),
    [
        ("node1", "(none)", ("node1", "")),
        ("node1", "", ("node1", "")),
        ("node1", "example.org", ("node1", "example.org")),
        ("node1.example.org", "(none)", ("node1", "example.org")),
        ("node1.example.org", "other.example", ("node1.example.org", "other.example")),
    ],
)
def test_a_name_that_holds_the_domain_is_split_at_the_first_dot(
    hostname: str, domainname: str, shown: tuple[str, str]
) -> None:
    assert split_name(hostname, domainname) == HostnameStatusSpec(hostname=shown[0], domainname=shown[1])


class Names:
    """Names here and elsewhere, and the file that the kernel notifies by."""

    def __init__(self) -> None:
        self.file = os.eventfd(0, os.EFD_NONBLOCK)
        self.here = self.known = HostnameStatusSpec(hostname="node1", domainname="")
        self.shown: list[tuple[str, float]] = []

    def change_elsewhere(self) -> None:
        os.eventfd_write(self.file, 1)

    def change(self, hostname: str) -> None:
        self.here = HostnameStatusSpec(hostname=hostname, domainname="")
        os.eventfd_write(self.file, 1)

    def have_changed(self) -> bool:
        """As the kernel: not for who was woken by the file, for that took the change. Looks are at whole seconds."""
        try:
            has_changed = os.eventfd_read(self.file) > 0
        except BlockingIOError:
            return False
        return has_changed and trio.current_time().is_integer()

    def show(self) -> None:
        self.shown.append((self.here.hostname, trio.current_time()))

    async def follow(self) -> None:
        await follow_names(self.file, self.have_changed, lambda: self.here, self.known, self.show)


@pytest.fixture
def names() -> Iterator[Names]:
    found = Names()
    yield found
    os.close(found.file)


@pytest.mark.virtual_clock
async def test_a_change_is_shown_at_once(names: Names) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(names.follow)
        await trio.sleep(3.25)
        names.change("node2")
        await trio.sleep(0.5)
        names.change("node3")
        await trio.sleep(0.5)
        nursery.cancel_scope.cancel()
    assert names.shown == [("node2", 3.25), ("node3", 3.75)]


@pytest.mark.virtual_clock
async def test_a_change_before_it_begins_to_follow_is_shown(names: Names) -> None:
    names.change("node2")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(names.follow)
        await trio.sleep(0.5)
        nursery.cancel_scope.cancel()
    assert names.shown == [("node2", 0.0)]


@pytest.mark.virtual_clock
async def test_changes_in_other_namespaces_wake_once_a_second_at_most_and_hide_none_here(names: Names) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(names.follow, name="names")
        await trio.sleep(0.25)
        steps = Steps()
        trio.lowlevel.add_instrument(steps)
        for _ in range(480):
            names.change_elsewhere()
            await trio.sleep(0.125)
        trio.lowlevel.remove_instrument(steps)
        assert steps.by_task["names"] <= 61
        assert not names.shown
        names.change("node2")
        await trio.sleep(1.0)
        assert names.shown == [("node2", 61.0)]
        # They have ended: a minute later nothing is looked for any more, and a change is shown at once again.
        await trio.sleep(60.0)
        trio.lowlevel.add_instrument(steps)
        steps.by_task.clear()
        await trio.sleep(60.0)
        assert not steps.by_task["names"]
        names.change("node3")
        await trio.sleep(0.5)
        trio.lowlevel.remove_instrument(steps)
        assert names.shown[1:] == [("node3", 181.25)]
        nursery.cancel_scope.cancel()
