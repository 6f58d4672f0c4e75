"""What a mirror reads of the notifications that have arrived, and whom it wakes."""

import errno
import math
import os
import socket
import struct
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Self

import pytest
import trio
import trio.testing

from nodespan.kernel import mirror, rtnetlink, rtnl
from nodespan.kernel.links import KernelLink, Links, read_link
from nodespan.kernel.mirror import Effect, Mirror
from nodespan.kernel.routes import Routes
from nodespan.kernel.rtnetlink import Message, OwnPorts, body_of, message_of
from nodespan.kernel.shared_mirror import Aspect, open_shared_mirror
from nodespan.resources.network.enums import LinkFlags
from nodespan.runtime import slices
from tests.kernel.messages import link, nest, queue
from tests.support.counting import Steps
from tests.support.deadlines import PATIENCE

OURS, THEIRS = 4_000_001, 4_000_002
UP = int(LinkFlags.UP)


class Queue:
    """A subscription: datagrams that have arrived."""

    def __init__(self) -> None:
        self.datagrams: list[bytes] = []
        # Not readable, unless it rings: what has arrived is processed when the test asks for it.
        self._silence = socket.socketpair()
        self._rings = False

    def fileno(self) -> int:
        return self._silence[0].fileno()

    def arrive(self, *messages: Message, port: int = 0) -> None:
        for message in messages:
            body = body_of(message)
            self.datagrams.append(struct.pack("=IHHII", 16 + len(body), message.type, message.flags, 0, port) + body)

    def ring(self) -> None:
        """Be readable, until `recv` has nothing more to give."""
        self._silence[1].send(b"!")
        self._rings = True

    def recv(self, _size: int) -> bytes:
        if not self.datagrams:
            if self._rings:
                self._silence[0].recv(1)
                self._rings = False
            raise BlockingIOError
        return self.datagrams.pop(0)

    def close(self) -> None:
        for each in self._silence:
            each.close()


class CountedLinks(Links):
    """Notes which messages are read in full."""

    def __init__(self) -> None:
        self.folded: list[int] = []
        self.collected = 0

    def collect(self, messages: Iterable[Message]) -> dict[int, KernelLink]:
        self.collected += 1
        return super().collect(messages)

    def fold(self, items: Any, message: Message) -> Effect[int, KernelLink]:
        self.folded.append(message.fields[1 if message.type == rtnl.RTM_NEWQDISC else 2])
        return super().fold(items, message)


DUMP = Mirror._dump


@pytest.fixture
def queued(monkeypatch: pytest.MonkeyPatch) -> Iterator[Queue]:
    """The subscription of the next mirror; the first dump of links is empty, and none reads one alone."""
    arrived = Queue()
    monkeypatch.setattr(mirror, "_subscribe", lambda *_: arrived)
    monkeypatch.setattr(Mirror, "_dump", lambda _: ({}, True))
    monkeypatch.setattr(Mirror, "_reread", lambda _, keys: dict.fromkeys(keys))
    own = OwnPorts()
    own.opened(OURS)
    monkeypatch.setattr(rtnetlink, "_own_ports", own)
    # However slow the machine is, what has arrived is processed in one piece.
    monkeypatch.setattr(slices, "SLICE", math.inf)
    monkeypatch.setattr(mirror, "_REPORT", math.inf)
    yield arrived
    arrived.close()


async def followed(queued: Queue) -> tuple[Mirror[int, KernelLink], CountedLinks]:
    """A mirror that has taken in its first dump."""
    kind = CountedLinks()
    found = Mirror(kind, None, lambda: None, 0)
    await found.resync()
    assert not queued.datagrams
    return found, kind


def named(index: int, name: str, flags: int = 0) -> Message:
    return link(("IFLA_IFNAME", name), index=index, flags=flags)


async def test_of_the_notifications_about_a_link_the_last_one_is_read(queued: Queue) -> None:
    links, kind = await followed(queued)
    for state in (0, UP, 0, UP):
        queued.arrive(named(7, "a", state), named(8, "b", state))
    await links.catch_up()
    assert kind.folded == [7, 8]
    assert {index: (each.name, each.status.flags) for index, each in links.items.items()} == {
        7: ("a", UP),
        8: ("b", UP),
    }
    assert links.take() == {7, 8}


async def test_what_a_task_has_caught_up_with_does_not_wake_the_one_that_follows_by_time(
    queued: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "_BURST", math.inf)
    links, kind = await followed(queued)

    def waiting_for_the_socket() -> int:
        statistics = trio.lowlevel.current_statistics().io_statistics
        assert statistics.backend == "epoll"
        return statistics.tasks_waiting_read

    others = waiting_for_the_socket()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(links.follow)
        for round in range(3):
            await trio.testing.wait_all_tasks_blocked()
            assert waiting_for_the_socket() == others + 1
            queued.arrive(named(7, "a", UP))
            queued.ring()
            with trio.fail_after(PATIENCE):
                while waiting_for_the_socket() > others:
                    await trio.lowlevel.checkpoint()
            # It waits for the rest of the burst.
            assert kind.folded == [7] * round
            await links.catch_up()
            assert kind.folded == [7] * (round + 1)
        nursery.cancel_scope.cancel()


async def test_notifications_that_no_task_catches_up_with_are_taken_in_after_the_burst(queued: Queue) -> None:
    links, _ = await followed(queued)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(links.follow)
        queued.arrive(named(7, "a"))
        queued.ring()
        with trio.fail_after(PATIENCE):
            await links.changed()
        nursery.cancel_scope.cancel()
    assert list(links.items) == [7]


async def test_a_link_that_was_changed_and_changed_back_is_announced(queued: Queue) -> None:
    links, _ = await followed(queued)
    queued.arrive(named(7, "a", UP))
    await links.catch_up()
    links.take()
    queued.arrive(named(7, "a", 0), named(7, "a", UP))
    await links.catch_up()
    changes = links.take_changes()
    assert not changes.before
    assert changes.announced == {7}


async def test_a_link_that_came_and_went_is_gone(queued: Queue) -> None:
    links, _ = await followed(queued)
    queued.arrive(named(7, "a"), named(7, "a", UP), link(("IFLA_IFNAME", "a"), gone=True, index=7), named(8, "b"))
    await links.catch_up()
    assert list(links.items) == [8]


async def test_what_is_said_between_two_notifications_counts_in_its_place(queued: Queue) -> None:
    links, kind = await followed(queued)
    queued.arrive(named(7, "a"), named(8, "b"), queue(7), named(7, "a", UP))
    await links.catch_up()
    # The queueing discipline of link 7 is read again: its link must be known by then.
    assert kind.folded == [7, 8, 7, 7]
    assert 8 in links.items


async def test_a_link_whose_last_notification_says_little_is_asked_for(
    queued: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = read_link(named(7, "now", UP))
    monkeypatch.setattr(Mirror, "_reread", lambda _, keys: dict.fromkeys(keys, now))
    links, _ = await followed(queued)
    queued.arrive(named(7, "then"), link(("IFLA_IFNAME", "then"), index=7, partial=True))
    await links.catch_up()
    assert links.items == {7: now}
    assert links.take_changes().announced == {7}


@pytest.mark.parametrize(
    ("first", "second", "read", "by"),
    [
        (THEIRS, 0, [7, 7], THEIRS),
        (THEIRS, THEIRS, [7], THEIRS),
        (THEIRS, OURS, [7, 7], THEIRS),
        (OURS, THEIRS, [7, 7], OURS),
        (OURS, OURS, [7], OURS),
        (0, THEIRS, [7, 7], 0),
    ],
)
async def test_what_another_program_changed_is_not_lost_among_what_follows(
    queued: Queue, first: int, second: int, read: list[int], by: int
) -> None:
    links, kind = await followed(queued)
    queued.arrive(named(7, "a", UP), port=first)
    # The same once more: of two that say the same the first one made the change.
    queued.arrive(named(7, "a", UP), port=second)
    await links.catch_up()
    assert kind.folded == read
    assert links.changed_by(7) == by


async def test_many_links_are_read_in_parts_and_all_of_them(queued: Queue) -> None:
    links, kind = await followed(queued)
    for index in range(1, 251):
        queued.arrive(named(index, f"v{index}"), named(index, f"v{index}", UP))
    await links.catch_up()
    # At the seams both notifications about a link are read.
    assert set(kind.folded) == set(links.items) == set(range(1, 251))
    assert len(kind.folded) <= 253
    assert all(UP & each.status.flags for each in links.items.values())


async def test_both_ends_of_a_pair_know_each_other_without_a_question(
    queued: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def reread(_mirror: object, keys: set[int]) -> dict[int, None]:
        asked.extend(keys)
        return dict.fromkeys(keys)

    monkeypatch.setattr(Mirror, "_reread", reread)
    links, _ = await followed(queued)
    kind = ("IFLA_LINKINFO", nest(("IFLA_INFO_KIND", "veth")))
    queued.arrive(
        link(("IFLA_IFNAME", "p"), kind, index=7), link(("IFLA_IFNAME", "v"), ("IFLA_LINK", 7), kind, index=8)
    )
    await links.catch_up()
    assert {index: each.status.link_index for index, each in links.items.items()} == {7: 8, 8: 7}
    assert not asked


async def test_a_change_is_compared_once_for_all_who_ask_the_same(queued: Queue) -> None:
    compared: list[str] = []

    def same(before: KernelLink, after: KernelLink) -> bool:
        compared.append(after.name)
        return before.name == after.name

    aspect = Aspect(same=same)
    woken: list[int] = []
    async with trio.open_nursery() as nursery:

        async def subscribe(number: int, task_status: trio.TaskStatus[Any]) -> None:
            async with open_shared_mirror(Links(), on_change=lambda: woken.append(number), aspect=aspect) as view:
                task_status.started(view)
                await trio.sleep_forever()

        views = [await nursery.start(subscribe, number) for number in range(3)]
        queued.arrive(named(7, "a"))
        await views[0].catch_up()
        assert [view.take() for view in views] == [{7}] * 3
        woken.clear()
        queued.arrive(named(7, "b"))
        await views[0].catch_up()
        assert compared == ["b"]
        assert sorted(woken) == [0, 1, 2]
        assert [view.take() for view in views] == [{7}] * 3
        woken.clear()
        queued.arrive(named(7, "b", UP))
        await views[0].catch_up()
        assert (compared, woken) == (["b", "b"], [])
        nursery.cancel_scope.cancel()


async def test_a_long_queue_is_discarded_in_slices_and_a_dump_that_did_not_come_is_made_later(
    queued: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    links, kind = await followed(queued)
    monkeypatch.setattr(slices, "SLICE", -1.0)  # every datagram takes a slice
    dumps: list[int] = []

    def dump(_mirror: object) -> tuple[dict[int, KernelLink], bool]:
        dumps.append(len(queued.datagrams))
        return {}, True

    monkeypatch.setattr(Mirror, "_dump", dump)
    queued.arrive(*(named(index, f"v{index}") for index in range(1, 101)))
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(links.resync)
            while len(queued.datagrams) > 90:
                # There are turns in between.
                await trio.lowlevel.checkpoint()
            scope.cancel()
    assert queued.datagrams
    assert not links.is_certain
    assert not dumps
    await links.catch_up()
    assert dumps == [0]
    assert links.is_certain
    assert not kind.folded


@pytest.mark.parametrize("cancelled_after", [None, 1])
async def test_what_a_dump_has_found_is_reported_in_parts_and_all_of_it_to_the_end(
    queued: Queue, monkeypatch: pytest.MonkeyPatch, cancelled_after: int | None
) -> None:
    monkeypatch.setattr(slices, "SLICE", -1.0)  # every part takes a slice
    found = {index: read_link(named(index, f"v{index}")) for index in range(1, 1201)}
    monkeypatch.setattr(Mirror, "_dump", lambda _: (found, True))
    parts: list[int] = []

    def changed() -> None:
        parts.append(len(links.take()))
        if len(parts) == cancelled_after:
            scope.cancel()

    links = Mirror(Links(), None, changed, 0)
    with trio.CancelScope() as scope:
        await links.resync()
    assert parts == ([500, 500, 200] if cancelled_after is None else [500, 700])
    assert len(links.items) == 1200
    assert links.is_certain


def _time_that_stands_still() -> trio.testing.MockClock:
    """The clock of the test, which waits for threads."""
    clock = trio.lowlevel.current_clock()
    assert isinstance(clock, trio.testing.MockClock)
    clock.autojump_threshold = math.inf
    return clock


class Dumps:
    """A kernel: what it lists, and how often it was asked."""

    def __init__(self, *messages: Message) -> None:
        self.messages = messages
        # How many more lists are not of one moment.
        self.incomplete = 0.0
        self.failure: OSError | None = None
        self.interrupted = False
        self.count = 0
        self.changed = threading.Condition()

    @contextmanager
    def open(self, _netns: str | None) -> Iterator[Self]:
        self.interrupted = False
        yield self

    def dump(self, _type: int, family: int) -> Iterator[Message]:
        if family == socket.AF_INET6:
            yield from self.dump_links()

    def dump_links(self) -> Iterator[Message]:
        with self.changed:
            self.count += 1
            self.changed.notify_all()
        if self.failure is not None:
            raise self.failure
        if self.incomplete:
            self.incomplete -= 1
            self.interrupted = True
        for message in self.messages:
            yield message_of(message.type, body_of(message))

    async def until(self, count: int, seconds: float) -> None:
        """Let so many seconds pass, and wait until there were so many dumps; their threads may not have ended."""
        _time_that_stands_still().jump(seconds)
        await trio.testing.wait_all_tasks_blocked()
        with self.changed:
            # Holds the loop: nothing but the thread goes on.
            assert self.changed.wait_for(lambda: self.count >= count, PATIENCE)


@pytest.mark.virtual_clock
async def test_the_dump_of_each_minute_wakes_the_loop_by_what_differs_only(
    queued: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    _time_that_stands_still()
    dumps = Dumps(named(7, "a", UP))
    monkeypatch.setattr(Mirror, "_dump", DUMP)
    monkeypatch.setattr(mirror, "open_rtnl_socket", dumps.open)
    links, kind = await followed(queued)
    assert links.take() == {7}
    steps = Steps()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(links.follow, name="following")
        await trio.testing.wait_all_tasks_blocked()
        trio.lowlevel.add_instrument(steps)
        # The first is read, too; after that the same messages mean the same.
        for minute in range(1, 11):
            await dumps.until(2 + minute, mirror.RESYNC_INTERVAL)
            # One that has not ended is not begun again. Holds the loop, until the thread is through.
            while links.is_comparing:
                os.sched_yield()
        trio.lowlevel.remove_instrument(steps)
        # Of the loop's other tasks none ran but this one: the queue through which threads wake it did not.
        assert steps.by_task.keys() == {"following", trio.lowlevel.current_task().name}
        assert steps.by_task["following"] == 10
        assert (dumps.count, kind.collected) == (12, 2)
        # What no notification was about is there all the same.
        dumps.messages = (named(7, "b", UP),)
        await dumps.until(14, mirror.RESYNC_INTERVAL)
        assert await links.changed() == {7}
        assert (links.items[7].name, dumps.count) == ("b", 15)
        nursery.cancel_scope.cancel()


@pytest.mark.virtual_clock
async def test_mirrors_that_were_filled_together_are_compared_one_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = _time_that_stands_still()
    dumps = Dumps(named(7, "a", UP))
    monkeypatch.setattr(mirror, "open_rtnl_socket", dumps.open)
    monkeypatch.setattr(mirror, "_subscribe", lambda *_: Queue())
    all_of_them = [Mirror(CountedLinks(), None, lambda: None, 0) for _ in range(4)]
    for each in all_of_them:
        await each.resync()
    counts = [dumps.count]
    async with trio.open_nursery() as nursery:
        for each in all_of_them:
            nursery.start_soon(each.follow)
        await trio.testing.wait_all_tasks_blocked()
        clock.jump(mirror.RESYNC_INTERVAL - 4)
        for _ in range(5):
            await trio.testing.wait_all_tasks_blocked()
            while any(each.is_comparing for each in all_of_them):
                os.sched_yield()
            counts.append(dumps.count)
            clock.jump(1.0)
        nursery.cancel_scope.cancel()
    for each in all_of_them:
        each.close()
    # Each lists twice, for what it finds is read, too.
    assert counts == [4, 4, 6, 8, 10, 12]


@pytest.mark.virtual_clock
async def test_the_same_list_says_nothing_of_a_mirror_that_has_changed_since(
    queued: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    _time_that_stands_still()
    dumps = Dumps(named(7, "a", UP))
    monkeypatch.setattr(Mirror, "_dump", DUMP)
    monkeypatch.setattr(mirror, "open_rtnl_socket", dumps.open)
    links, kind = await followed(queued)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(links.follow)
        await trio.testing.wait_all_tasks_blocked()
        await dumps.until(3, mirror.RESYNC_INTERVAL)
        while links.is_comparing:
            os.sched_yield()
        assert kind.collected == 2
        # A notification of a change that was taken back without one.
        queued.arrive(named(7, "b", UP))
        await links.catch_up()
        assert links.take() == {7}
        await dumps.until(5, mirror.RESYNC_INTERVAL)
        assert await links.changed() == {7}
        assert links.items[7].name == "a"
        nursery.cancel_scope.cancel()


@pytest.mark.virtual_clock
@pytest.mark.parametrize("failure", [None, OSError(errno.EPERM, "not yours")])
async def test_a_dump_that_could_not_be_compared_is_made_again_at_once(
    queued: Queue, monkeypatch: pytest.MonkeyPatch, failure: OSError | None
) -> None:
    _time_that_stands_still()
    dumps = Dumps()
    monkeypatch.setattr(Mirror, "_dump", DUMP)
    monkeypatch.setattr(mirror, "open_rtnl_socket", dumps.open)
    links, _ = await followed(queued)
    failures: list[OSError] = []

    async def follow() -> None:
        try:
            await links.follow()
        except OSError as error:
            failures.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow)
        await trio.testing.wait_all_tasks_blocked()
        # The kernel says that its list is not of one moment, or lists nothing.
        dumps.incomplete, dumps.failure = math.inf, failure
        await dumps.until(2, mirror.RESYNC_INTERVAL)
        ends = time.monotonic() + PATIENCE
        while dumps.count < 3 or (failure is not None and not failures):
            await trio.lowlevel.checkpoint()
            assert time.monotonic() < ends
        nursery.cancel_scope.cancel()
    assert failures == ([] if failure is None else [failure])


@pytest.mark.virtual_clock
async def test_a_comparison_that_was_interrupted_is_made_again_in_its_thread(
    queued: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    _time_that_stands_still()
    dumps = Dumps(named(7, "a", UP))
    monkeypatch.setattr(Mirror, "_dump", DUMP)
    monkeypatch.setattr(mirror, "open_rtnl_socket", dumps.open)
    links, kind = await followed(queued)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(links.follow)
        await trio.testing.wait_all_tasks_blocked()
        # The first list, which is not read, and the one after it.
        dumps.incomplete = 2
        await dumps.until(4, mirror.RESYNC_INTERVAL)
        while links.is_comparing:
            os.sched_yield()
        await trio.testing.wait_all_tasks_blocked()
        assert (dumps.count, kind.collected) == (4, 3)
        nursery.cancel_scope.cancel()


@pytest.mark.virtual_clock
async def test_a_dump_that_another_task_finds_due_does_not_wait_for_the_next_notification(
    queued: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    _time_that_stands_still()
    dumps = Dumps()
    monkeypatch.setattr(Mirror, "_dump", DUMP)
    monkeypatch.setattr(mirror, "open_rtnl_socket", dumps.open)
    routes = Mirror(Routes(), None, lambda: None, 0)
    await routes.resync()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(routes.follow)
        await trio.testing.wait_all_tasks_blocked()
        # A link was set down. The task that follows is not told: by now there is nothing to receive.
        queued.arrive(link(("IFLA_IFNAME", "a"), index=7, change=UP))
        await routes.catch_up()
        assert not routes.is_certain
        await dumps.until(2, 0.1)
        ends = time.monotonic() + PATIENCE
        while not routes.is_certain:
            await trio.lowlevel.checkpoint()
            assert time.monotonic() < ends
        await trio.testing.wait_all_tasks_blocked()
        assert dumps.count == 2
        nursery.cancel_scope.cancel()


async def test_a_kernel_without_filters_is_mirrored_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOPROTOOPT, "no filters here")

    monkeypatch.setattr(mirror, "attach", refuse)
    async with mirror.open_mirror(Routes()) as routes:
        assert routes.is_certain
