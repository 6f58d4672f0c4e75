"""`events`, `logs`, `support` and `version` of other machines: who may, and what is shown of several."""

import contextlib
import datetime
import io
import itertools
import json
import tarfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import pytest
import trio

from nodespan.controllers.api import logs as served_logs
from nodespan.controllers.api import support as served_support
from nodespan.controllers.remote import logs as asked_logs
from nodespan.controllers.remote import support as asked_support
from nodespan.controllers.remote.support import folders_of
from nodespan.controllers.secrets.key_pair import encode_pem
from nodespan.resources.network import HOSTNAME_ID, HostnameStatus, HostnameStatusSpec
from nodespan.resources.secrets import OSRoot
from nodespan.resources.wire import machine_pb2, node_pb2
from nodespan.runtime.api.grpc import Code
from nodespan.runtime.api.grpc.client import CallError, Channel
from nodespan.runtime.events import Event, EventRule, Happening
from nodespan.runtime.events.observer import EventController
from nodespan.runtime.events.resource import event_id
from nodespan.runtime.resource import Resource
from tests.controllers.api.nodes import AUTHORITY, OPERATOR, READER, TOKEN, APINode, api_node
from tests.controllers.api.test_commands import NOBODY, command, configure
from tests.support.deadlines import PATIENCE
from tests.support.process import eventually

T = TypeVar("T")


def test_both_ends_call_the_methods_by_the_same_names() -> None:
    assert (served_logs.LOGS, served_support.SUPPORT) == (asked_logs.LOGS, asked_support.SUPPORT)


@pytest.mark.process
async def test_the_versions_of_several_nodes_stand_below_that_of_the_command(tmp_path: Path) -> None:
    async with api_node("one") as one, api_node("two") as two:
        configure(tmp_path, one)
        shown = await command(tmp_path, "--nodes", f"{two.address},{NOBODY},{one.address}", "version")
        own, *servers = shown.stdout.split("Server:\n")
        assert own.startswith("Client:\n    Tag:      v")
        assert [server.splitlines()[:2] for server in servers] == [
            [f"    NODE:     {node.address}", "    Tag:      v1.2.3"] for node in (two, one)
        ]
        assert shown.stderr.startswith(f"{NOBODY}: ")
        assert shown.returncode == 1
        alone = await command(tmp_path, "--nodes", one.address, "version", "--client")
        assert (alone.returncode, "Server" in alone.stdout) == (0, False)


# Events.


def describe(
    _before: Resource[HostnameStatusSpec] | None, now: Resource[HostnameStatusSpec] | None
) -> Iterable[Happening]:
    if now is not None:
        yield Happening("hostname", f"it is {now.spec.hostname}", is_new=True)


def observer(*seconds: int) -> EventController:
    """Notices its first event in the first of these seconds, and so on."""
    noon = datetime.datetime(2026, 1, 2, 12, tzinfo=datetime.UTC)
    moments = itertools.chain(seconds, itertools.repeat(seconds[-1]))
    rule = EventRule(type=HostnameStatus, describe=describe)
    return EventController([rule], now=lambda: noon + datetime.timedelta(seconds=next(moments)))


async def rename(one: APINode, name: str) -> None:
    await one.node.put(HostnameStatus, HOSTNAME_ID, HostnameStatusSpec(hostname=name))


@pytest.mark.process
async def test_events_of_several_nodes_are_one_list_by_time(tmp_path: Path) -> None:
    async with api_node("one", beside=[observer(1, 5)]) as one, api_node("two", beside=[observer(3, 4)]) as two:
        for node, name in ((one, "first"), (two, "second")):
            await node.node.eventually(Event, event_id(1))
            await rename(node, name)
            await node.node.eventually(Event, event_id(2))
        configure(tmp_path, one)
        names = f"{two.address},{NOBODY},{one.address}"
        shown = await command(tmp_path, "--nodes", names, "events")
        width = max(len(one.address), len(two.address), len(NOBODY))
        assert shown.stdout.splitlines() == [
            f"{address:{width}}  2026-01-02T12:00:0{second}Z  info     hostname       it is {name}"
            for address, second, name in (
                (one.address, 1, "one"),
                (two.address, 3, "two"),
                (two.address, 4, "second"),
                (one.address, 5, "first"),
            )
        ]
        assert shown.stderr.startswith(f"{NOBODY}: ")
        assert (shown.returncode, shown.stderr.count("\n")) == (1, 1)
        # The last one of each.
        found = await command(
            tmp_path, "--nodes", f"{two.address},{one.address}", "events", "--last", "1", "-o", "json"
        )
        events = [json.loads(line) for line in found.stdout.splitlines()]
        assert [(event["node"], event["text"]) for event in events] == [
            (two.address, "it is second"),
            (one.address, "it is first"),
        ]
        assert found.returncode == 0
        refused = await command(tmp_path, "--nodes", one.address, "events", "-o", "csv")
        assert "expected text, json or yaml" in refused.stderr


# Logs.


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that the agents of the test write their log to."""
    file = tmp_path / "agent.log"
    file.write_text("old\nfirst\n\x1b[2Jlast\n")

    def command_for(_agent: Any, *, lines: int, follow: bool, since: str) -> list[str]:
        assert not since
        return ["tail", "-n", str(lines), *(["-F"] if follow else []), "--", str(file)]

    monkeypatch.setattr(served_logs, "command_for", command_for)
    return file


async def data(channel: Channel, request: machine_pb2.LogsRequest, **options: Any) -> list[machine_pb2.Data]:
    async with channel.stream(
        served_logs.LOGS, request, machine_pb2.Data.FromString, timeout=PATIENCE, **options
    ) as stream:
        return [answer async for answer in stream]


async def refusal(channel: Channel, request: machine_pb2.LogsRequest) -> tuple[Code, str]:
    with pytest.raises(CallError) as caught:
        await data(channel, request)
    return caught.value.code, str(caught.value)


@pytest.mark.process
@pytest.mark.usefixtures("log")
async def test_logs_of_several_nodes_stand_behind_the_names_of_their_nodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with api_node("one") as one, api_node("two") as two:
        configure(tmp_path, one)
        names = f"{two.address},{NOBODY},{one.address}"
        shown = await command(tmp_path, "--nodes", names, "logs", "--lines", "2")
        assert shown.stdout.splitlines() == [
            f"{two.address}: first",
            f"{two.address}: \\x1b[2Jlast",
            f"{one.address}: first",
            f"{one.address}: \\x1b[2Jlast",
        ]
        assert shown.stderr.startswith(f"{NOBODY}: ")
        assert (shown.returncode, shown.stderr.count("\n")) == (1, 1)
        program = ["sh", "-c", "echo there is no journal; exit 1"]
        monkeypatch.setattr(served_logs, "command_for", lambda *_, **__: program)
        lost = await command(tmp_path, "--nodes", one.address, "logs")
        assert lost.stdout == f"{one.address}: there is no journal\n"
        assert "could not show the log" in lost.stderr
        assert lost.returncode == 1


@pytest.mark.process
async def test_a_log_is_followed_for_as_long_as_its_reader_stays(log: Path) -> None:
    async with api_node() as one, one.client(READER) as client:
        request = machine_pb2.LogsRequest(namespace="system", id="nodespan", follow=True, tail_lines=1)
        with trio.fail_after(PATIENCE):
            async with client.stream(served_logs.LOGS, request, machine_pb2.Data.FromString) as stream:
                assert (await the_next(stream)).data == b"\x1b[2Jlast\n"
                assert readers_of(log)
                with log.open("a") as file:
                    file.write("new\n")
                assert (await the_next(stream)).data == b"new\n"
        await eventually(lambda: not readers_of(log))


async def the_next(stream: Any) -> Any:
    """The next message of a stream that does not end."""
    message = await stream.receive()
    assert message is not None
    return message


def readers_of(log: Path) -> list[str]:
    """The processes that show the log."""
    found = []
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            words = each.read_bytes().split(b"\0")
            if words[0] == b"tail" and str(log).encode() in words:
                found.append(each.parent.name)
    return found


@pytest.mark.process
async def test_the_log_of_several_nodes_is_followed_in_one_call_as_the_originals_clients_do(log: Path) -> None:
    async with api_node("one") as one, api_node("two") as two, one.client() as admin:
        request = machine_pb2.LogsRequest(id="controller-runtime", follow=True, tail_lines=1)
        metadata = [("nodes", "one"), ("nodes", NOBODY), ("nodes", two.address)]
        found: dict[str, tuple[bytes, int]] = {}
        with trio.fail_after(PATIENCE):
            async with client_stream(admin, request, metadata) as stream:
                while len(found) < 3:
                    answer = await the_next(stream)
                    found[answer.metadata.hostname] = (answer.data, answer.metadata.status.code)
        line = b"\x1b[2Jlast\n"
        assert found == {"one": (line, 0), two.address: (line, 0), NOBODY: (b"", Code.UNAVAILABLE)}
        await eventually(lambda: not readers_of(log))


@contextlib.asynccontextmanager
async def client_stream(
    channel: Channel, request: machine_pb2.LogsRequest, metadata: list[tuple[str, str]]
) -> AsyncIterator[Any]:
    async with channel.stream(served_logs.LOGS, request, machine_pb2.Data.FromString, metadata=metadata) as stream:
        yield stream


async def test_other_logs_and_what_is_no_time_are_refused() -> None:
    async with api_node() as one, one.client(READER) as client:
        for request, code, words in (
            (machine_pb2.LogsRequest(id="etcd"), Code.NOT_FOUND, "use journalctl"),
            (machine_pb2.LogsRequest(namespace="k8s.io", id="nodespan"), Code.NOT_FOUND, "no containers"),
            (machine_pb2.LogsRequest(id="nodespan", since="x" * 65), Code.INVALID_ARGUMENT, "since"),
            (machine_pb2.LogsRequest(id="nodespan", since="\n"), Code.INVALID_ARGUMENT, "since"),
        ):
            assert (await refusal(client, request))[0] is code
            assert words in (await refusal(client, request))[1]


@pytest.mark.process
async def test_no_more_than_so_many_read_the_log_at_once(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served_logs, "_MOST_READERS", 1)
    request = machine_pb2.LogsRequest(id="nodespan", follow=True, tail_lines=1)
    async with api_node() as one, one.client() as client:
        with trio.fail_after(PATIENCE):
            async with client.stream(served_logs.LOGS, request, machine_pb2.Data.FromString) as stream:
                await stream.receive()
                assert (await refusal(client, request))[0] is Code.RESOURCE_EXHAUSTED
        await eventually(lambda: not readers_of(log))
        request.follow = False
        assert await when_free(lambda: data(client, request))


async def test_the_log_is_looked_for_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []

    def command_for(_agent: Any, **_: Any) -> None:
        threads.append(threading.get_ident())

    monkeypatch.setattr(served_logs, "command_for", command_for)
    async with api_node() as one, one.client(READER) as client:
        code, words = await refusal(client, machine_pb2.LogsRequest(id="nodespan"))
    assert code is Code.FAILED_PRECONDITION
    assert "neither to the journal nor to a file" in words
    assert threads != [threading.get_ident()]


async def when_free(act: Callable[[], Awaitable[T]]) -> T:
    """What it returns, once the node has noticed that others are gone."""
    with trio.fail_after(PATIENCE):
        while True:
            try:
                return await act()
            except CallError as error:
                if error.code is not Code.RESOURCE_EXHAUSTED:
                    raise
            await trio.sleep(0.01)


# Support.


async def pieces(channel: Channel) -> list[dict[str, Any]]:
    async with channel.stream(
        served_support.SUPPORT, node_pb2.SupportRequest(), node_pb2.Answer.FromString, timeout=PATIENCE
    ) as stream:
        return [json.loads(answer.json) async for answer in stream]


async def support_refusal(channel: Channel) -> tuple[Code, str]:
    with pytest.raises(CallError) as caught:
        await pieces(channel)
    return caught.value.code, str(caught.value)


@pytest.mark.process
async def test_support_of_several_nodes_is_one_archive_without_secrets(tmp_path: Path) -> None:
    directory = tmp_path / "state"
    directory.mkdir()
    async with api_node("one", socket=tmp_path / "s", state_dir=directory) as one:
        configure(tmp_path, one)
        names = f"{NOBODY},{one.address}"
        shown = await command(tmp_path, "--nodes", names, "support", "-y", "-o", "found.tar.gz")
        assert shown.stderr.startswith(f"{NOBODY}: ")
        assert (shown.returncode, shown.stderr.count("\n")) == (1, 1)
        assert shown.stdout.splitlines()[0].endswith(f"  {NOBODY}/failed.txt")
        path = tmp_path / "found.tar.gz"
        assert path.stat().st_mode & 0o777 == 0o600
        with tarfile.open(path) as tar:
            texts = {name.partition("/")[2]: read(tar, name) for name in tar.getnames()}
        assert {name.partition("/")[0] for name in texts} == {NOBODY, one.address}
        assert "hostname: one" in texts[f"{one.address}/resources/network/{HostnameStatus.name}.yaml"]
        assert "1.2.3" in texts[f"{one.address}/versions.yaml"]
        assert texts[f"{NOBODY}/failed.txt"]
        # The configuration was among what it looked at, and so were the authority's key and the token.
        assert f"{one.address}/resources/secrets/{OSRoot.name}.yaml" in texts
        whole = "".join(texts.values())
        assert TOKEN not in whole
        assert "PRIVATE KEY" not in whole
        assert encode_pem(AUTHORITY.key) not in whole

        refused = await command(tmp_path, "--nodes", one.address, "support", "--config", "x")
        assert "for this machine" in refused.stderr
        nothing = await command(tmp_path, "--nodes", NOBODY, "support", "-y", "-o", "none.tar.gz")
        assert (nothing.returncode, nothing.stdout) == (1, "")
        assert not (tmp_path / "none.tar.gz").exists()


def read(tar: tarfile.TarFile, name: str) -> str:
    file = tar.extractfile(name)
    assert isinstance(file, io.BufferedReader)
    return file.read().decode()


@pytest.mark.process
async def test_files_are_collected_for_one_administrator_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = 'echo \'{"name": "a", "text": "b"}\'; exec sleep 1000'
    monkeypatch.setattr(served_support, "own_command", lambda _: ("sh", "-c", script))
    async with api_node(socket=tmp_path / "s") as one, one.client() as first, one.client() as second:
        for who in (OPERATOR, READER):
            async with one.client(who) as other:
                assert (await support_refusal(other))[0] is Code.PERMISSION_DENIED
        with trio.fail_after(PATIENCE):
            async with first.stream(
                served_support.SUPPORT, node_pb2.SupportRequest(), node_pb2.Answer.FromString
            ) as stream:
                assert json.loads((await the_next(stream)).json) == {"name": "a", "text": "b"}
                assert (await support_refusal(second))[0] is Code.RESOURCE_EXHAUSTED
        # The first client is gone, and what was collected for it with it.
        monkeypatch.setattr(served_support, "own_command", lambda _: ("false",))
        with pytest.raises(CallError, match="collecting the files ended with status 1: see the log of the node"):
            await when_free(lambda: pieces(second))


def test_folders_are_those_of_the_nodes_whatever_they_are_called() -> None:
    assert folders_of(["10.0.0.1", "fd00::1", "fd00--1", "..", "", "db"]) == {
        "10.0.0.1": "10.0.0.1",
        "fd00::1": "fd00--1",
        "fd00--1": "fd00--1-2",
        "..": "node",
        "": "node-2",
        "db": "db",
    }
