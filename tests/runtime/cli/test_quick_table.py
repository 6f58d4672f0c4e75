"""The short way of `get`: the same text as the long way, and nothing that is not plain."""

from pathlib import Path
from typing import Any

import attrs
import pytest

from nodespan.resources.network import LinkStatus, NodeAddress, NodeAddressSpec, RouteStatus, RouteStatusSpec
from nodespan.runtime.api import protocol
from nodespan.runtime.api.rows import Rows
from nodespan.runtime.cli import quick_table
from nodespan.runtime.cli.get import make_output
from nodespan.runtime.cli.table import Table
from nodespan.runtime.codec.plain import resource_to_plain, spec_to_plain
from nodespan.runtime.resource import Resource, ResourceDefinition, ResourceType, definition_resource
from nodespan.runtime.resource.metadata import NO_SPEC
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


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: str(sample.metadata.id))
def test_cells_are_those_of_the_long_way(sample: Resource[Any], capsys: pytest.CaptureFixture[str]) -> None:
    type = {each.name: each for each in (NodeAddress, RouteStatus, Odd, ResourceDefinition)}[sample.metadata.type]
    definition = definition_resource(type).spec
    output = make_output("table", NODE, watch=False)
    output.begin(spec_to_plain(definition))
    output.show(protocol.CREATED, {"event": protocol.CREATED, "resource": resource_to_plain(sample)})
    output.flush()
    rows = Rows(definition)
    table = Table(["NODE", *rows.columns])
    table.add_columns(1, [NODE, *rows.cells([sample])])
    assert table.flush() == capsys.readouterr().out


MIXED = [
    resource(RouteStatus, "a", RouteStatusSpec(dst="10.0.0.0/8", priority=7)),
    resource(RouteStatus, "b", RouteStatusSpec(out_link_name="eth0")),
    Resource(resource(RouteStatus, "c", RouteStatusSpec()).metadata, NO_SPEC),
]


@pytest.mark.parametrize("samples", [MIXED[:2], MIXED, [*reversed(MIXED)], MIXED[2:], 3 * MIXED[1:2]], ids=len)
def test_cells_of_many_are_those_of_each(samples: list[Resource[Any]]) -> None:
    rows = Rows(definition_resource(RouteStatus).spec)
    together, one_by_one = Table(rows.columns), Table(rows.columns)
    together.add_columns(len(samples), rows.cells(samples))
    for sample in samples:
        one_by_one.add_columns(1, rows.cells([sample]))
    assert together.flush() == one_by_one.flush()
    same = [cells for cells in rows.cells(3 * samples[:1]) if isinstance(cells, str)]
    assert len(same) == len(rows.columns)


def test_a_table_of_many_resources_makes_no_python_call_for_each() -> None:
    """In the agent and in the command: ten thousand routes are shown by C code that works on whole columns."""
    rows = Rows(definition_resource(RouteStatus).spec)
    samples = [resource(RouteStatus, f"{each}", RouteStatusSpec(dst="::1", priority=each)) for each in range(300)]

    def show(count: int) -> str:
        table = Table([NODE, *rows.columns])
        table.add_columns(count, [NODE, *rows.cells(samples[:count])])
        return table.flush()

    show(1)
    assert len(calls(lambda: show(300))) == len(calls(lambda: show(100)))


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("links", "lo", "more"),
        ("links", "-w"),
        ("links", "-o", "yaml"),
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
        one = nodespan("get", "-l", "nosuch=label", "links", "-n", "network", directory=tmp_path)
        assert (one.stdout.count("\n"), one.stderr, one.returncode) == (1, "", 0)
        missing = nodespan("get", "links", "nosuch", directory=tmp_path)
        assert "doesn't exist" in missing.stderr
        assert (missing.stdout, missing.returncode) == ("", 1)
