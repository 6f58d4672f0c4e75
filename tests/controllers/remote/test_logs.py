"""Logs of other machines: bytes to lines, and what is new of a log that is read again."""

import argparse
import contextlib
import tracemalloc
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, cast

import attrs
import hypothesis.strategies as st
import pytest
import trio
from hypothesis import given

from nodespan.controllers.remote import logs
from nodespan.controllers.remote.logs import Lines, Unseen, follow_one
from nodespan.resources.wire import machine_pb2 as wire
from nodespan.runtime.api.grpc import Code
from nodespan.runtime.api.grpc.client import CallError
from nodespan.runtime.cli.errors import CommandError


@given(st.binary(), st.lists(st.integers(0, 50)))
def test_lines_are_the_same_however_they_come_in_parts(data: bytes, sizes: list[int]) -> None:
    whole, parted = Lines(), Lines()
    expected = [*whole.of(data), *whole.end()]
    found: list[str] = []
    for size in sizes:
        found += parted.of(data[:size])
        data = data[size:]
    assert [*found, *parted.of(data), *parted.end()] == expected


def test_a_line_without_an_end_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_LONGEST_LINE", 4)
    lines = Lines()
    assert lines.of(b"abcdefghij") == ["abcd", "efgh"]
    assert lines.of(b"k\nl") == ["ijk"]
    assert lines.end() == ["l"]
    assert lines.of(b"\xff\n") == ["l\\xff"]


@pytest.mark.parametrize(
    ("last", "read", "new"),
    [
        # Nothing was shown yet.
        (None, ["a", "b"], ["a", "b"]),
        ("b", ["a", "b", "c", "b"], ["c", "b"]),
        ("b", ["a", "b"], []),
        # Not among the last ones, as after a long time, or in a file that was begun anew.
        ("x", ["a", "b", "c", "d", "e"], ["a", "b", "c", "d", "e"]),
        ("x", ["a", "b"], ["a", "b"]),
    ],
)
def test_what_was_shown_is_left_out_of_a_log_that_is_read_again(
    last: str | None, read: list[str], new: list[str]
) -> None:
    fresh = Unseen([] if last is None else [last], most=4)
    found = [line for each in read for line in fresh.of(each)]
    assert [*found, *fresh.rest()] == new
    assert fresh.of("later") == ["later"]


@pytest.mark.parametrize(
    ("shown", "read", "new"),
    [
        # Lines of one traceback after the other: the last one is like one before it.
        (["1", "at x", "2", "at x"], ["1", "at x", "2", "at x", "3"], ["3"]),
        (["a", "x", "x", "x"], ["a", "x", "x", "x", "x"], ["x"]),
        # What is read again begins before what was shown, or behind its begin.
        (["b", "c"], ["c", "a", "b", "c", "d"], ["a", "b", "c", "d"]),
        (["b", "c"], ["a", "c", "b", "c", "d"], ["d"]),
        (["a", "b", "c"], ["b", "c", "d"], ["d"]),
        # Lines stand between that were not shown: what follows is rather shown twice.
        (["a", "c"], ["a", "b", "c", "d", "c"], ["d", "c"]),
    ],
)
def test_equal_lines_are_told_apart_by_those_before_them(shown: list[str], read: list[str], new: list[str]) -> None:
    fresh = Unseen(shown, most=10)
    found = [line for each in read for line in fresh.of(each)]
    assert [*found, *fresh.rest()] == new
    assert not fresh.has_gap


@attrs.define
class Away:
    """A node whose streams of a log say one part after the other, and end as they are told to."""

    streams: list[tuple[list[bytes | float | wire.Data], Exception | None]]
    asked: list[wire.LogsRequest] = attrs.field(factory=list)
    node: str = "one"

    @contextlib.asynccontextmanager
    async def stream(self, _path: str, request: wire.LogsRequest, *_: Any, **__: Any) -> AsyncIterator[Any]:
        self.asked.append(request)
        parts, end = self.streams.pop(0)

        async def answers() -> AsyncGenerator[wire.Data, None]:
            for part in parts:
                if isinstance(part, float):
                    await trio.sleep(part)
                else:
                    yield wire.Data(data=part) if isinstance(part, bytes) else part
            if end is not None:
                raise end

        async with contextlib.aclosing(answers()) as stream:
            yield stream


UNAVAILABLE = CallError(Code.UNAVAILABLE, "the connection was lost")
DENIED = CallError(Code.PERMISSION_DENIED, "not authorized")


@pytest.mark.virtual_clock
async def test_a_log_is_followed_over_a_restart_of_its_node(capsys: pytest.CaptureFixture[str]) -> None:
    node: Any = Away(
        [
            ([b"a\nb\nc", b"\n"], UNAVAILABLE),
            ([], UNAVAILABLE),
            # It is the same log, with what came meanwhile.
            ([b"b\nc\nd\n", 10.0, b"e\n"], None),
            # And another one, which is shorter than what is asked for.
            ([b"new\n", 10.0, b"newer\n"], DENIED),
        ]
    )
    with pytest.raises(CallError, match="not authorized"):
        await follow_one(node, wire.LogsRequest(id="x", follow=True, tail_lines=3, since="10m"))
    said = capsys.readouterr()
    assert said.out == "".join(f"one: {line}\n" for line in ("a", "b", "c", "d", "e", "new", "newer"))
    assert said.err == (
        "one: the connection was lost; trying again\n"
        "one: the node has ended its log; trying again\n"
        "one: lines may be missing here: what was shown last is not among its last 200 lines\n"
    )
    assert [request.tail_lines for request in node.asked] == [3, 200, 200, 200]
    assert [request.since for request in node.asked] == ["10m", "", "", ""]


@pytest.mark.virtual_clock
async def test_a_node_that_cannot_be_asked_at_first_is_not_waited_for() -> None:
    node: Any = Away([([], UNAVAILABLE)])
    with pytest.raises(CallError, match="the connection was lost"):
        await follow_one(node, wire.LogsRequest(follow=True))


@pytest.mark.virtual_clock
async def test_the_error_of_a_node_behind_another_is_its_error() -> None:
    node: Any = Away([([wire.Data(metadata=wire.Metadata(error="no\x1b[2J"))], None)])
    with pytest.raises(CommandError, match=r"^no\\x1b\[2J$"):
        await follow_one(node, wire.LogsRequest(follow=True))


@pytest.mark.virtual_clock
async def test_more_lines_than_are_read_again_are_a_gap_that_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    later = [f"{number}" for number in range(200)]
    node: Any = Away(
        [
            ([b"a\n"], UNAVAILABLE),
            # Its first line takes longer than is looked for what was shown.
            ([10.0, "".join(f"{line}\n" for line in later).encode(), b"next\n"], DENIED),
        ]
    )
    with pytest.raises(CallError, match="not authorized"):
        await follow_one(node, wire.LogsRequest(id="x", follow=True, tail_lines=3))
    said = capsys.readouterr()
    assert said.out == "".join(f"one: {line}\n" for line in ("a", *later, "next"))
    assert said.err.splitlines() == [
        "one: the connection was lost; trying again",
        "one: lines may be missing here: what was shown last is not among its last 200 lines",
    ]


@pytest.mark.virtual_clock
async def test_each_time_that_a_node_is_away_is_said_also_if_it_had_nothing_new(
    capsys: pytest.CaptureFixture[str],
) -> None:
    node: Any = Away([([b"a\n"], UNAVAILABLE), ([], UNAVAILABLE), ([b"a\n", 60.0], UNAVAILABLE), ([b"a\n"], DENIED)])
    with pytest.raises(CallError, match="not authorized"):
        await follow_one(node, wire.LogsRequest(id="x", follow=True, tail_lines=3))
    said = capsys.readouterr()
    assert said.out == "one: a\n"
    assert said.err == "one: the connection was lost; trying again\n" * 2


class Counting:
    """An output of which only the number of lines is kept."""

    lines = 0

    def writelines(self, lines: Iterable[str]) -> None:
        for _ in lines:
            self.lines += 1


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Has the command ask the nodes that are given."""

    def ask(*nodes: Any) -> None:
        async def each_node(_target: Any, act: Callable[[Any], Awaitable[None]]) -> int:
            for node in nodes:
                await act(node)
            return 0

        monkeypatch.setattr(logs, "each_node", each_node)
        monkeypatch.setattr(logs, "in_order", lambda _target, kept: list(kept))

    return ask


def read(lines: int = 200) -> int:
    return logs.logs(cast(Any, None), argparse.Namespace(lines=lines, follow=False, since=""))


def test_a_log_of_short_lines_takes_no_more_than_its_size(
    only: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    size = 100_000
    only(Away([([b"ab\n" * size, b"end"], None)]))
    written = Counting()
    monkeypatch.setattr("sys.stdout", written)
    tracemalloc.start()
    try:
        assert read() == 0
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert written.lines == size + 1
    # As texts they would be 6 MB.
    assert peak < 3_000_000


def test_what_nodes_say_before_it_is_too_much_is_bounded_for_each_and_for_all(
    only: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "_MOST_BYTES", 2**20)
    monkeypatch.setattr(logs, "_MOST_OF_ALL", 2**20)
    only(Away([([bytes(2**20 + 1)], None)]))
    with pytest.raises(CommandError, match="its log has more than 1 MiB: ask for less with --lines"):
        read()
    only(Away([([bytes(2**20)], None)]), Away([([b"a"], None)], node="two"))
    with pytest.raises(CommandError, match="the logs of all nodes have more than 1 MiB: name fewer nodes"):
        read()
