"""The short way of `get`: the same text as the long way, and nothing that is not plain."""

import contextlib
import io
import sys
from pathlib import Path
from typing import Any

import attrs
import msgpack
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from nodespan.resources.network import LinkStatus, NodeAddress, NodeAddressSpec, RouteStatus, RouteStatusSpec
from nodespan.runtime.api import protocol, rows
from nodespan.runtime.api.rows import Rows
from nodespan.runtime.cli import quick_table
from nodespan.runtime.cli.get import make_output
from nodespan.runtime.codec.plain import resource_to_plain, spec_to_plain
from nodespan.runtime.resource import (
    FrozenMapping,
    Phase,
    Resource,
    ResourceDefinition,
    ResourceType,
    definition_resource,
)
from nodespan.runtime.resource.metadata import NO_SPEC
from nodespan.runtime.resource.spec import wire
from nodespan.runtime.text.table import Table
from tests.runtime.cli.samples import NODE, resource
from tests.support.agent import agent, environment, nodespan
from tests.support.counting import calls


@attrs.frozen(kw_only=True)
class OddSpec:
    text: str = ""
    number: float = 2.0
    maybe: str | None = None
    flag: bool = False

    def to_plain(self) -> dict[str, object]:
        return {"text": f"<{self.text}>", "number": self.number}


Odd = ResourceType(
    "Odds.test.dev", OddSpec, namespace="test", columns={"Text": ".text", "Number": "{.number}", "Both": "{.text}!"}
)
SAMPLES = [
    resource(NodeAddress, "current", NodeAddressSpec(addresses=("10.0.0.1/8", "::1/128"))),
    resource(RouteStatus, "a", RouteStatusSpec(dst="10.0.0.0/8", priority=7)),
    resource(Odd, "odd", OddSpec(text="x\x1b[2J")),
    resource(Odd, "plain", OddSpec(number=1.5)),
    definition_resource(LinkStatus),
]


# What terminals treat in ways of their own, beside all else that texts may hold: wide, joined, without a width, blank,
# unprintable, half of a pair.
TEXTS = st.text(st.sampled_from("ab%  \t\n\x1b\x9b\u0301\u202e\u3000語é\ud800😀")) | st.text()


def long_way(node: str, type: ResourceType[Any], resources: list[Resource[Any]], form: str = "table") -> str:
    """What the long way prints of them."""
    output = make_output(form, node, watch=False)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        output.begin(spec_to_plain(definition_resource(type).spec))
        for each in resources:
            output.show(protocol.CREATED, {"event": protocol.CREATED, "resource": resource_to_plain(each)})
        output.flush()
    return printed.getvalue()


def short_way(node: str, type: ResourceType[Any], resources: list[Resource[Any]], form: str = "table") -> str:
    """What the agent has the short way print of them."""
    if form == "name":
        return "".join(rows.names(definition_resource(type).spec, resources))
    return trio.run(Rows(definition_resource(type).spec, is_wide=form == "wide").table, node, resources).flush()


@pytest.mark.parametrize("form", ["table", "wide", "name"])
@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: str(sample.metadata.id))
def test_a_table_is_that_of_the_long_way(sample: Resource[Any], form: str) -> None:
    type = {each.name: each for each in (NodeAddress, RouteStatus, Odd, ResourceDefinition)}[sample.metadata.type]
    assert short_way(NODE, type, [sample], form) == long_way(NODE, type, [sample], form)


LABELS = st.dictionaries(TEXTS, TEXTS, max_size=3)


@given(st.lists(st.tuples(TEXTS, st.sampled_from(Phase), st.integers(0, 2**33), LABELS), max_size=4))
def test_wide_tables_of_any_metadata_are_those_of_the_long_way(
    metadata: list[tuple[str, Phase, int, dict[str, str]]],
) -> None:
    resources = [
        Resource(
            attrs.evolve(
                resource(Text, f"{at}", TextSpec()).metadata,
                owner=owner,
                phase=phase,
                updated=second * 10**9 + 1,
                labels=FrozenMapping(labels),
            ),
            TextSpec(),
        )
        for at, (owner, phase, second, labels) in enumerate(metadata)
    ]
    assert short_way(NODE, Text, resources, "wide") == long_way(NODE, Text, resources, "wide")


@attrs.frozen(kw_only=True)
class TextSpec:
    text: str = ""
    maybe: str = attrs.field(default="", metadata=wire(omit_empty=True))
    number: int | bool | None = 0


Text = ResourceType(
    "Texts.test.dev",
    TextSpec,
    namespace="test",
    columns={"Text": ".text", "Number": ".number", "Maybe": ".maybe", "Last": "{.text}"},
)


@given(
    TEXTS, st.lists(st.tuples(TEXTS, TEXTS, st.integers(-1, 1) | st.booleans() | st.none()), max_size=5), st.booleans()
)
def test_tables_of_any_texts_are_those_of_the_long_way(
    node: str, specs: list[tuple[str, str, int | None]], first_again: bool
) -> None:
    specs = [*specs, *specs[:1]] if first_again else specs
    resources = [
        resource(Text, f"{at}{text}", TextSpec(text=text, maybe=maybe, number=number), version=1 + at // 2)
        for at, (text, maybe, number) in enumerate(specs)
    ]
    for form in ("table", "name"):
        assert short_way(node, Text, resources, form) == long_way(node, Text, resources, form)


def test_a_table_of_more_rows_than_are_made_at_once_is_that_of_the_long_way() -> None:
    """Each slice has its own widths, characters and cells that are alike; the table is aligned as a whole."""
    specs = [
        TextSpec(text="語" * (each % 7) if each // 500 % 2 else "same", number=each // 900) for each in range(3000)
    ]
    resources = [resource(Text, f"{at:04}", spec) for at, spec in enumerate(specs)]
    for form in ("table", "wide", "name"):
        assert short_way(NODE, Text, resources, form) == long_way(NODE, Text, resources, form)


async def test_a_long_table_lets_other_tasks_run_in_between(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "_SLICE", 0.0)
    resources = [resource(Text, f"{at:03}", TextSpec(number=at)) for at in range(500)]
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        table = await Rows(definition_resource(Text).spec).table(NODE, resources)
        nursery.cancel_scope.cancel()
    assert turns >= 3
    assert table.flush() == long_way(NODE, Text, resources)


MIXED = [
    resource(RouteStatus, "a", RouteStatusSpec(dst="10.0.0.0/8", priority=7)),
    resource(RouteStatus, "b", RouteStatusSpec(out_link_name="eth0")),
    Resource(resource(RouteStatus, "c", RouteStatusSpec()).metadata, NO_SPEC),
]


@pytest.mark.parametrize("samples", [MIXED[:2], MIXED, [*reversed(MIXED)], MIXED[2:], 3 * MIXED[1:2]], ids=len)
def test_cells_of_many_are_those_of_each(samples: list[Resource[Any]]) -> None:
    routes = Rows(definition_resource(RouteStatus).spec)
    together, one_by_one = Table(routes.columns), Table(routes.columns)
    together.add_columns(len(samples), routes.cells(samples))
    for sample in samples:
        one_by_one.add_columns(1, routes.cells([sample]))
    assert together.flush() == one_by_one.flush()
    same = [cells for cells in routes.cells(3 * samples[:1]) if isinstance(cells, str)]
    assert len(same) == len(routes.columns)


def test_a_table_of_many_resources_makes_no_python_call_for_each() -> None:
    """Ten thousand routes are shown by C code that works on whole columns."""
    routes = Rows(definition_resource(RouteStatus).spec)
    specs = [RouteStatusSpec(dst=f"::{each}", out_link_name="eth0", priority=each) for each in range(300)]
    samples = [resource(RouteStatus, f"{each}", spec) for each, spec in enumerate(specs)]

    def show(count: int) -> str:
        table = Table([NODE, *routes.columns])
        table.add_columns(count, [NODE, *routes.cells(samples[:count])])
        return table.flush()

    show(1)
    assert len(calls(lambda: show(300))) == len(calls(lambda: show(100)))


@given(st.recursive(st.none() | TEXTS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner)))
def test_a_request_packed_by_hand_is_msgpack(request: object) -> None:
    assert msgpack.unpackb(quick_table.packed(request), unicode_errors=protocol.UNICODE_ERRORS) == request


def test_what_no_request_has_is_not_packed() -> None:
    with pytest.raises(TypeError, match="a request has no float"):
        quick_table.packed({"a": 1.0})


def answer(*messages: object) -> bytes:
    return b"".join(map(msgpack.packb, messages))


def shown(answered: bytes) -> list[bytes] | None:
    lines = quick_table.lines_in(answered)
    return None if lines is None else [*map(bytes, lines)]


@given(
    st.lists(st.sampled_from([0, 1, 31, 32, 255, 256, 65535, 65536]).map(lambda length: "é"[:length] + "x" * length))
)
def test_the_lines_of_an_answer_are_its_texts(texts: list[str]) -> None:
    messages = [{"outage": None}, *({"text": text} for text in texts), {"end": True}]
    assert shown(answer(*messages)) == [text.encode() for text in texts]


WHOLE = answer({"outage": None}, {"text": "A\n"}, {"text": 40 * "b"}, {"end": True})
NOT_A_TABLE = [
    b"",
    answer({"error": "not_found", "message": "no such type is registered"}),
    answer(
        {"outage": {"namespace": "n", "since": "", "reason": "gone", "loaded": True}}, {"text": "A\n"}, {"end": True}
    ),
    answer({"outage": None}, {"text": "A\n"}, {"error": "internal", "message": "failed"}),
    answer({"outage": None}, {"text": 7}, {"end": True}),
    answer({"outage": None}, {"text": b"A\n"}, {"end": True}),
    answer({"outage": None, "columns": ["A"]}, {"rows": 1, "cells": ["a"]}, {"end": True}),
    WHOLE + b"\x00",
    *(WHOLE[:length] for length in range(len(WHOLE))),
]


@pytest.mark.parametrize("answered", NOT_A_TABLE, ids=range(len(NOT_A_TABLE)))
def test_what_is_not_a_complete_table_is_left_to_the_long_way(answered: bytes) -> None:
    assert shown(WHOLE) == [b"A\n", 40 * b"b"]
    assert shown(answered) is None


@pytest.mark.parametrize(
    ("encoding", "written"),
    [
        ("utf-8", "é\n語"),
        ("UTF-8", "é\n語"),
        ("latin-1", "é\n\\u8a9e"),
        ("ascii", "\\xe9\n\\u8a9e"),
        ("utf-16", "é\n語"),
    ],
)
def test_lines_are_written_in_the_character_set_of_the_output(
    encoding: str, written: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(output, encoding=encoding, newline=""))
    quick_table.write([memoryview("é\n".encode()), memoryview("語".encode())])
    assert output.getvalue() == written.encode(encoding)


class Pipe(io.RawIOBase):
    """Has room for so many bytes in all, and takes at most three at a time."""

    def __init__(self, room: int) -> None:
        self.taken = b""
        self._room = room

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int | None:
        some = bytes(data[: min(3, self._room - len(self.taken))])
        self.taken += some
        return len(some) or None


def test_an_output_without_a_buffer_gets_all_that_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with PYTHONUNBUFFERED."""
    lines = [memoryview(b"A  B\n"), memoryview(b"1  2\n")]
    for room, whole in ((10, True), (8, False)):
        pipe = Pipe(room)
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(pipe, encoding="utf-8", write_through=True))  # type: ignore[type-var]
        with contextlib.nullcontext() if whole else pytest.raises(BlockingIOError):
            quick_table.write(lines)
        assert pipe.taken == b"A  B\n1  2\n"[:room]


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("links", "lo", "more"),
        ("links", "-w"),
        ("links", "-o", "yaml"),
        ("links", "-o", "wide", "-w"),
        ("links", "--output=table"),
        ("links", "--node", "a"),
        ("links", "-n"),
        ("links", "-n", "-l"),
        ("links", "--help"),
    ],
)
def test_what_is_not_plain_takes_the_long_way(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NODESPAN_SOCKET", str(tmp_path / "none"))
    assert quick_table.print_table(list(arguments)) is None
    assert capsys.readouterr() == ("", "")


async def test_both_ways_show_the_same_of_an_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with agent(tmp_path):
        short = nodespan("get", "rd", directory=tmp_path)
        for name, value in environment(tmp_path).items():
            monkeypatch.setenv(name, value)
        assert short.stdout.count("ResourceDefinition ") > 20
        # An option that only the long way knows, and that changes nothing.
        long = nodespan("get", "rd", "--output=table", directory=tmp_path)
        assert (short.stdout, short.stderr, short.returncode) == (long.stdout, long.stderr, long.returncode)
        for form in ("wide", "name"):
            short = nodespan("get", "rd", "-o", form, directory=tmp_path)
            long = nodespan("get", "rd", f"--output={form}", directory=tmp_path)
            assert ("LABELS" if form == "wide" else "resourcedefinition/") in short.stdout
            assert (short.stdout, short.stderr, short.returncode) == (long.stdout, long.stderr, long.returncode)
        one = nodespan("get", "-l", "nosuch=label", "links", "-n", "network", directory=tmp_path)
        assert (one.stdout.count("\n"), one.stderr, one.returncode) == (1, "", 0)
        missing = nodespan("get", "links", "nosuch", directory=tmp_path)
        assert "doesn't exist" in missing.stderr
        assert (missing.stdout, missing.returncode) == ("", 1)
