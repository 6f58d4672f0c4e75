"""A watch that outlives its agents shows what really changed, and nothing else."""

import contextlib
from typing import Any

import attrs
import pytest

from nodespan.resources.network import AddressStatus, LinkStatus
from nodespan.runtime.api import protocol
from nodespan.runtime.cli.errors import CommandError
from nodespan.runtime.cli.get import Follower, make_output
from tests.runtime.cli.samples import BOOTSTRAPPED, absent, address, data, definition, link, yaml

CREATED, UPDATED, DESTROYED = protocol.CREATED, protocol.UPDATED, protocol.DESTROYED
HEAD = definition(LinkStatus)


class Recorded:
    """An output that records its calls: events as `+eth0@1`, flushes as `|`."""

    form = "data"

    def __init__(self) -> None:
        self.shown = ""

    def begin(self, definition: dict[str, Any]) -> None:
        self.shown += f"[{definition['displayType']}]"

    def show(self, event: str, answer: dict[str, Any]) -> None:
        metadata = answer["resource"]["metadata"]
        mark = {CREATED: "+", UPDATED: "~", DESTROYED: "-"}[event]
        self.shown += f" {mark}{metadata['id']}@{metadata['version']}"

    def flush(self) -> None:
        self.shown += " |"


def up(id: str, version: int = 1, **spec: Any) -> dict[str, Any]:
    return data(CREATED, link(id, version=version, **spec))


def changed(id: str, version: int, **spec: Any) -> dict[str, Any]:
    return data(UPDATED, link(id, version=version, **spec))


def down(id: str, version: int = 1) -> dict[str, Any]:
    return data(DESTROYED, link(id, version=version))


A, B, C = up("a"), up("b"), up("c")
OF_A_KIND: dict[str, tuple[list[list[dict[str, Any]]], str]] = {
    "nothing there": ([[HEAD, BOOTSTRAPPED]], "[LinkStatus] |"),
    "what is there, then each change by itself": (
        [[HEAD, A, B, BOOTSTRAPPED, changed("a", 2, mtu=9), down("b"), up("b")]],
        "[LinkStatus] +a@1 +b@1 | ~a@2 | -b@1 | +b@1 |",
    ),
    "the same after a restart": (
        [[HEAD, A, B, BOOTSTRAPPED], [HEAD, A, B, BOOTSTRAPPED]],
        "[LinkStatus] +a@1 +b@1 | |",
    ),
    "other versions are no change": (
        [[HEAD, up("a", 7), BOOTSTRAPPED], [HEAD, up("a", 1), BOOTSTRAPPED]],
        "[LinkStatus] +a@7 | |",
    ),
    "one changed, one gone, one new": (
        [[HEAD, A, B, BOOTSTRAPPED], [HEAD, up("a", 1, mtu=9), C, BOOTSTRAPPED]],
        "[LinkStatus] +a@1 +b@1 | ~a@1 +c@1 -b@1 |",
    ),
    "all gone": ([[HEAD, A, B, BOOTSTRAPPED], [HEAD, BOOTSTRAPPED]], "[LinkStatus] +a@1 +b@1 | -a@1 -b@1 |"),
    "gone before the restart is not gone again": (
        [[HEAD, A, BOOTSTRAPPED, down("a")], [HEAD, BOOTSTRAPPED]],
        "[LinkStatus] +a@1 | -a@1 | |",
    ),
    "created since is known": (
        [[HEAD, BOOTSTRAPPED, A], [HEAD, A, BOOTSTRAPPED]],
        "[LinkStatus] | +a@1 | |",
    ),
    "cut off before the mark": (
        [[HEAD, A], [HEAD, A, B, BOOTSTRAPPED]],
        "[LinkStatus] +a@1 +b@1 |",
    ),
    "cut off before the mark, then less": (
        [[HEAD, A, B], [HEAD, B, BOOTSTRAPPED]],
        "[LinkStatus] +a@1 +b@1 -a@1 |",
    ),
    "cut off before anything": ([[], [HEAD, A, BOOTSTRAPPED]], "[LinkStatus] +a@1 |"),
    "changes after the restart are changes, whatever their content": (
        [[HEAD, A, BOOTSTRAPPED], [HEAD, A, BOOTSTRAPPED, changed("a", 2)]],
        "[LinkStatus] +a@1 | | ~a@2 |",
    ),
}

ABSENT = data(DESTROYED, absent(LinkStatus, "a"))
OF_ONE: dict[str, tuple[list[list[dict[str, Any]]], str]] = {
    "there": ([[HEAD, A, changed("a", 2), down("a", 2)]], "[LinkStatus] +a@1 | ~a@2 | -a@2 |"),
    "absent, then there": ([[HEAD, ABSENT, A]], "[LinkStatus] -a@undefined | +a@1 |"),
    "the same after a restart": ([[HEAD, A], [HEAD, A]], "[LinkStatus] +a@1 | |"),
    "changed over a restart": ([[HEAD, A], [HEAD, up("a", mtu=9)]], "[LinkStatus] +a@1 | ~a@1 |"),
    "gone over a restart, as it was last": ([[HEAD, up("a", 5)], [HEAD, ABSENT]], "[LinkStatus] +a@5 | -a@5 |"),
    "absent before and after": ([[HEAD, ABSENT], [HEAD, ABSENT]], "[LinkStatus] -a@undefined | |"),
    "gone before, absent after": ([[HEAD, A, down("a")], [HEAD, ABSENT]], "[LinkStatus] +a@1 | -a@1 | |"),
    "absent before, there after": ([[HEAD, ABSENT], [HEAD, A]], "[LinkStatus] -a@undefined | +a@1 |"),
    "after a restart each change is one": (
        [[HEAD, A], [HEAD, A, changed("a", 2), down("a", 2)]],
        "[LinkStatus] +a@1 | | ~a@2 | -a@2 |",
    ),
}


@pytest.mark.parametrize(("streams", "shown"), OF_A_KIND.values(), ids=OF_A_KIND.keys())
def test_a_kind_is_followed_through_restarts(streams: list[list[dict[str, Any]]], shown: str) -> None:
    assert follow(streams, of_one=False) == shown


@pytest.mark.parametrize(("streams", "shown"), OF_ONE.values(), ids=OF_ONE.keys())
def test_one_resource_is_followed_through_restarts(streams: list[list[dict[str, Any]]], shown: str) -> None:
    assert follow(streams, of_one=True) == shown


def follow(streams: list[list[dict[str, Any]]], *, of_one: bool) -> str:
    recorded: Any = Recorded()
    follower = Follower(recorded, of_one=of_one)
    for stream in streams:
        follower.follow(stream)
    return str(recorded.shown)


CHANGES = [
    ({"labels": {"a": "1"}}, True),
    ({"finalizers": ("f",)}, True),
    ({"annotations": {"a": "1"}}, True),
    ({"owner": "other"}, True),
    ({"version": 8}, False),
    ({"created": 0, "updated": 0}, False),
]


@pytest.mark.parametrize("render", [data, yaml])
@pytest.mark.parametrize(("change", "is_change"), CHANGES)
def test_what_counts_as_a_change_is_the_same_in_every_form(
    render: Any, change: dict[str, Any], is_change: bool
) -> None:
    before = address("lo", "127.0.0.1/8")
    shown = []

    class Count(Recorded):
        def show(self, event: str, answer: dict[str, Any]) -> None:
            shown.append(event)

    count: Any = Count()
    follower = Follower(count, of_one=False)
    follower.follow([HEAD, render(CREATED, before), BOOTSTRAPPED])
    after = attrs.evolve(before, metadata=attrs.evolve(before.metadata, **change))
    follower.follow([HEAD, render(CREATED, after), BOOTSTRAPPED])
    assert shown == [CREATED] + [UPDATED] * is_change


def sized(answer: dict[str, Any], size: int) -> dict[str, Any]:
    return {**answer, "size": size}


@pytest.mark.parametrize(
    ("streams", "fits"),
    [
        # More and more of them, within one stream and over several.
        ([[HEAD, BOOTSTRAPPED, sized(up("a"), 60), sized(up("b"), 41)]], False),
        ([[HEAD, BOOTSTRAPPED, sized(up("a"), 60), sized(up("b"), 40)]], True),
        ([[HEAD, sized(up("a"), 60)], [HEAD, sized(up("b"), 60)]], False),
        ([[HEAD, sized(up("a"), 60), BOOTSTRAPPED], [HEAD, sized(up("a"), 60), BOOTSTRAPPED]], True),
        # One that grows, and those that come and go.
        ([[HEAD, BOOTSTRAPPED, sized(up("a"), 60), sized(changed("a", 2), 101)]], False),
        ([[HEAD, BOOTSTRAPPED, *[sized(up("a"), 60), sized(changed("a", 2), 90), down("a")] * 9]], True),
        # The same again and again, of which it is never said that this is all.
        ([[HEAD, *[sized(up("a"), 60), down("a")] * 2]], False),
        ([[HEAD, sized(up("a"), 60), down("a")]] * 2, False),
        # The own agent's are not counted.
        ([[HEAD, up("a"), up("b")]], True),
    ],
)
def test_what_a_stranger_sends_is_remembered_up_to_a_limit(streams: list[list[dict[str, Any]]], fits: bool) -> None:
    recorded: Any = Recorded()
    follower = Follower(recorded, of_one=False, largest=100)
    with contextlib.nullcontext() if fits else pytest.raises(CommandError, match="more resources than are kept here"):
        for stream in streams:
            follower.follow(stream)


WATCH = """\
NODE           *   NAMESPACE   TYPE            ID                       VERSION   ADDRESS           LINK
192.168.0.10   +   network     AddressStatus   enp1s0/192.168.0.10/24   1         192.168.0.10/24   enp1s0
192.168.0.10   +   network     AddressStatus   lo/127.0.0.1/8           1         127.0.0.1/8       lo
192.168.0.10   +   network   AddressStatus   enp1s0/192.168.0.15/32   1   192.168.0.15/32   enp1s0
192.168.0.10       network   AddressStatus   enp1s0/192.168.0.10/24   2   192.168.0.10/24   enp1s0
192.168.0.10   -   network   AddressStatus   enp1s0/192.168.0.15/32   1   192.168.0.15/32   enp1s0
"""


def test_the_table_of_a_watch_reads_as_that_of_the_originals(capsys: pytest.CaptureFixture[str]) -> None:
    follower = Follower(make_output("table", "192.168.0.10", watch=True), of_one=False)
    follower.follow(
        [
            definition(AddressStatus),
            data(CREATED, address("enp1s0", "192.168.0.10/24")),
            data(CREATED, address("lo", "127.0.0.1/8")),
            BOOTSTRAPPED,
            data(CREATED, address("enp1s0", "192.168.0.15/32")),
            data(UPDATED, address("enp1s0", "192.168.0.10/24", version=2)),
            data(DESTROYED, address("enp1s0", "192.168.0.15/32")),
        ]
    )
    assert capsys.readouterr().out == WATCH
