"""`status`, `describe` and `doctor` of other machines: who may, what a node answers, and what is shown of several."""

import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from nodespan.controllers.api import overview as served
from nodespan.controllers.remote import answers as answers_of_nodes
from nodespan.controllers.remote import nodes as nodes_asked
from nodespan.controllers.remote import overview as asked
from nodespan.resources.network import HOSTNAME_ID, HostnameStatus, HostnameStatusSpec
from nodespan.resources.secrets import OSRoot
from nodespan.resources.wire import node_pb2 as wire
from nodespan.runtime.api.grpc import Code
from nodespan.runtime.api.grpc.client import CallError, Channel
from nodespan.runtime.cli.errors import CommandError
from nodespan.runtime.cli.overview.status import ReportOutput
from nodespan.runtime.overview import check as checks
from nodespan.runtime.overview.check import Check, Surroundings, Verdict, failed, ok
from tests.controllers.api.nodes import ADMIN, OPERATOR, READER, api_node
from tests.controllers.api.test_commands import NOBODY, command, configure
from tests.support.deadlines import PATIENCE

SECRETS, NODE = OSRoot.name, HostnameStatus.name


async def answers(channel: Channel, path: str, request: Any) -> list[dict[str, Any]]:
    async with channel.stream(path, request, wire.Answer.FromString, timeout=PATIENCE) as stream:
        return [json.loads(answer.json) async for answer in stream]


async def refusal(channel: Channel, path: str, request: Any) -> tuple[Code, str]:
    with pytest.raises(CallError) as caught:
        await answers(channel, path, request)
    return caught.value.code, str(caught.value)


def test_both_ends_call_the_methods_by_the_same_names() -> None:
    assert (served.STATUS, served.CAUSES, served.CHECK) == (asked.STATUS, asked.CAUSES, asked.CHECK)


async def test_the_status_is_what_the_client_may_see(tmp_path: Path) -> None:
    async with api_node(socket=tmp_path / "s") as one:
        for who in (ADMIN, READER):
            async with one.client(who) as client:
                (answer,) = await answers(client, served.STATUS, wire.StatusRequest())
            assert answer["status"]["version"] == "1.2.3"
            assert answer["status"]["sections"][0]["data"]["hostname"] == "one.example"


async def test_a_status_that_is_watched_follows_changes(tmp_path: Path) -> None:
    async with api_node(socket=tmp_path / "s") as one, one.client(READER) as client:
        request = wire.StatusRequest(watch=True)
        with trio.fail_after(PATIENCE):
            async with client.stream(served.STATUS, request, wire.Answer.FromString) as stream:
                await stream.receive()
                await one.node.put(HostnameStatus, HOSTNAME_ID, HostnameStatusSpec(hostname="renamed"))
                async for answer in stream:
                    if "renamed" in answer.json:
                        break


async def test_causes_are_those_of_what_the_client_may_read(tmp_path: Path) -> None:
    async with api_node(socket=tmp_path / "s") as one, one.client(READER) as reader, one.client() as admin:
        request = wire.CausesRequest(type=SECRETS, id="os", depth=3)
        assert (await refusal(reader, served.CAUSES, request))[0] is Code.PERMISSION_DENIED
        first, *inputs = await answers(admin, served.CAUSES, request)
        assert (first["id"], first["owner"]) == ("os", "secrets.RootOSController")
        assert "MachineConfig" in {cause["type"] for cause in inputs}
        request = wire.CausesRequest(type=NODE, id="hostnam", depth=3)
        code, text = await refusal(reader, served.CAUSES, request)
        assert (code, "did you mean" in text) == (Code.NOT_FOUND, True)
        for wrong in (wire.CausesRequest(type="x", id="y"), wire.CausesRequest()):
            assert (await refusal(reader, served.CAUSES, wrong))[0] is Code.NOT_FOUND


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[list[dict[str, Any]]]:
    """Two checks in place of the installed ones; what the first one got of secrets."""
    found: list[list[dict[str, Any]]] = []

    def look(surroundings: Surroundings) -> Iterator[Verdict]:
        found.append(surroundings.resources(SECRETS))
        assert [each["metadata"]["id"] for each in surroundings.resources(NODE)] == [HOSTNAME_ID]
        assert surroundings.agent is not None
        yield ok(f"version {surroundings.agent['version']}")

    def fail(_surroundings: Surroundings) -> Iterator[Verdict]:
        yield failed("it is broken", "mend it")

    made = [Check(name="look", run=look), Check(name="fail", run=fail)]
    monkeypatch.setattr(checks, "load_checks", lambda: (made, ["entry point 'x': no"]))
    return found


async def test_checks_run_on_the_node_with_the_rights_of_the_client(
    tmp_path: Path, seen: list[list[dict[str, Any]]]
) -> None:
    async with api_node(socket=tmp_path / "s", state_dir=tmp_path) as one:
        for who, secrets in ((ADMIN, 1), (OPERATOR, 0)):
            async with one.client(who) as client:
                found = await answers(client, served.CHECK, wire.CheckRequest())
                assert [(each["check"], each["outcome"]) for each in found] == [
                    ("packages", "failed"),
                    ("look", "ok"),
                    ("fail", "failed"),
                ]
                assert found[1]["text"] == "version 1.2.3"
                assert len(seen.pop()) == secrets
                chosen = await answers(client, served.CHECK, wire.CheckRequest(only=["fail"]))
                assert chosen[-1] == {"check": "fail", "outcome": "failed", "text": "it is broken", "remedy": "mend it"}
                code, text = await refusal(client, served.CHECK, wire.CheckRequest(only=["lok"]))
                assert (code, "did you mean" in text) == (Code.INVALID_ARGUMENT, True)
        async with one.client(READER) as reader:
            assert (await refusal(reader, served.CHECK, wire.CheckRequest()))[0] is Code.PERMISSION_DENIED


async def test_checks_run_for_one_client_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    runs, goes_on = trio.Event(), threading.Event()

    def wait(_surroundings: Surroundings) -> Iterator[Verdict]:
        trio.from_thread.run_sync(runs.set)
        goes_on.wait(PATIENCE)
        yield ok("waited")

    monkeypatch.setattr(checks, "load_checks", lambda: ([Check(name="wait", run=wait)], []))
    async with api_node(socket=tmp_path / "s") as one, one.client() as first, one.client() as second:
        gone = trio.CancelScope()

        async def ask() -> None:
            with gone:
                await answers(first, served.CHECK, wire.CheckRequest())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            with trio.fail_after(PATIENCE):
                await runs.wait()
            assert (await refusal(second, served.CHECK, wire.CheckRequest()))[0] is Code.RESOURCE_EXHAUSTED
            # The client goes, its check does not.
            gone.cancel()
            assert (await refusal(second, served.CHECK, wire.CheckRequest()))[0] is Code.RESOURCE_EXHAUSTED
            goes_on.set()
        found: list[dict[str, Any]] = []
        with trio.fail_after(PATIENCE):
            while not found:
                await trio.sleep(0.01)
                try:
                    found = await answers(second, served.CHECK, wire.CheckRequest())
                except CallError as error:
                    if error.code is not Code.RESOURCE_EXHAUSTED:
                        raise
        assert found[0]["text"] == "waited"


async def test_several_nodes_are_shown_one_after_the_other(tmp_path: Path) -> None:
    async with (
        api_node("one", socket=tmp_path / "1") as one,
        api_node("two", socket=tmp_path / "2") as two,
    ):
        configure(tmp_path, one)
        names = f"{two.address},{NOBODY},{one.address}"
        shown = await command(tmp_path, "--nodes", names, "status")
        heads = [line for line in shown.stdout.splitlines() if line.startswith("== ")]
        assert heads == [f"== {two.address}", f"== {one.address}"]
        assert shown.stderr.startswith(f"{NOBODY}: ")
        assert shown.returncode == 1
        found = await command(tmp_path, "status", "-o", "json", "--nodes", two.address)
        assert (json.loads(found.stdout)["node"], found.returncode) == (two.address, 0)

        described = await command(tmp_path, "--nodes", f"{one.address},{two.address}", "describe", "osroot", "os")
        assert described.stdout.startswith(f"Node: {' ' * 8}{one.address}\n")
        assert f"Node: {' ' * 8}{two.address}\n" in described.stdout
        assert "by secrets.RootOSController" in described.stdout
        assert "└─ " in described.stdout
        why = await command(tmp_path, "--nodes", f"{two.address},{one.address}", "why", "osroot", "os")
        assert why.stdout.startswith(f"== {two.address}\nOSRoot secrets/os version 1 by secrets.RootOSController\n")
        assert f"\n\n== {one.address}\nOSRoot " in why.stdout
        nothing = await command(tmp_path, "--nodes", one.address, "describe", "members")
        assert nothing.stderr == f"{one.address}: no such type is registered: 'members'; `nodespan get rd` lists all\n"

        judged = await command(tmp_path, "--nodes", one.address, "doctor", "--only", "agent", "-o", "json")
        assert json.loads(judged.stdout)["node"] == one.address
        assert json.loads(judged.stdout)["checks"][0]["text"].startswith("version 1.2.3 runs as process ")
        refused = await command(tmp_path, "--nodes", one.address, "doctor", "--state-dir", "x")
        assert "for this machine" in refused.stderr


HOSTILE = [
    "",
    "[]",
    "{}",
    '{"status": 1}',
    '{"status": {"sections": [{}]}}',
    '{"status": {"healthy": 1, "warnings": 0, "sections": [{"facts": 1, "table": null, "title": "\\u001b[2J"}]}}',
    "[" * 100_000,
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_what_cannot_be_shown_is_an_error_without_control_characters(text: str) -> None:
    shown = ReportOutput("text", watch=False, all=False)
    with pytest.raises(CommandError, match="its answer cannot be shown") as caught, nodes_asked.usable():
        shown.text(answers_of_nodes._decoded(wire.Answer(json=text))["status"], node="x")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


async def test_a_node_that_is_not_there_any_more_is_said_so(tmp_path: Path) -> None:
    async with api_node() as one, one.client() as client:  # nobody serves its socket
        assert (await refusal(client, served.STATUS, wire.StatusRequest()))[0] is Code.UNAVAILABLE


class Talkative:
    """A client of a node that answers without end."""

    @contextlib.asynccontextmanager
    async def stream(self, *_: Any, **__: Any) -> AsyncIterator["Talkative"]:
        yield self

    def __aiter__(self) -> "Talkative":
        return self

    async def __anext__(self) -> wire.Answer:
        return wire.Answer(json=json.dumps({"text": "x" * 2**20}))


async def test_a_node_that_answers_without_end_is_left() -> None:
    node: Any = Talkative()
    taken: list[Any] = []
    with pytest.raises(CommandError, match="it answers with more than 32 MiB"):
        await answers_of_nodes.receive(node, asked.CAUSES, None, taken.append)
    assert len(taken) <= 32
