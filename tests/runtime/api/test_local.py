"""The local socket, over real sockets: what it answers, whom it refuses, and that nobody can harm it."""

import contextlib
import errno
import os
import re
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
import msgpack
import pytest
import structlog
import trio
from structlog.testing import LogCapture

from nodespan.runtime.api import local, protocol
from nodespan.runtime.api.local import AlreadyServedError, LocalServer, claim, listen, read_rule
from nodespan.runtime.api.rows import Rows
from nodespan.runtime.controller import Controller, ControllerContext, exclusive
from nodespan.runtime.engine import Engine
from nodespan.runtime.errors import AccessError
from nodespan.runtime.resource import ResourceDefinition, ResourceType
from nodespan.runtime.state import MemoryState
from nodespan.runtime.state.filtered import FilteredState
from nodespan.runtime.state.meta import register_types
from nodespan.runtime.text.table import Table
from tests.support.deadlines import PATIENCE
from tests.support.process import eventually


@attrs.frozen(kw_only=True)
class ThingSpec:
    text: str = ""


Thing = ResourceType("Things.test.dev", ThingSpec, namespace="test", aliases=("same",), columns={"Text": ".text"})
Other = ResourceType("Others.test.dev", ThingSpec, namespace="test", aliases=("other",))
Secret = ResourceType("Secrets.test.dev", ThingSpec, namespace="test", sensitive=True)

GET: dict[str, Any] = {
    "call": "get",
    "type": "thing",
    "namespace": "",
    "id": None,
    "selectors": [],
    "watch": False,
    "form": "data",
}
WATCH = {**GET, "watch": True}


@attrs.frozen(kw_only=True)
class PeerSpec:
    label: str


Peer = ResourceType("Peers.test.dev", PeerSpec, namespace="test", columns={"Label": ".label"})

WHY: dict[str, Any] = {"call": "why", "type": "thing", "namespace": "", "id": "one", "depth": 3}


class ThingController(Controller):
    """Exists, so that there is a graph."""

    name = "test.ThingController"
    outputs = (exclusive(Thing),)

    async def run(self, ctx: ControllerContext) -> None:
        raise NotImplementedError


@attrs.frozen
class Served:
    """A server, and the state that it serves."""

    state: MemoryState
    path: Path
    log: LogCapture
    clients: list[trio.SocketStream] = attrs.field(factory=list)

    async def put(self, id: str, text: str = "", *, type: ResourceType[ThingSpec] = Thing, **labels: str) -> None:
        new = type.new(id, ThingSpec(text=text), labels=labels)
        await self.state.modify(new, lambda known: known.with_spec(ThingSpec(text=text)).with_labels(labels))

    async def connect(self) -> "Client":
        stream = await trio.open_unix_socket(self.path)
        self.clients.append(stream)
        return Client(stream)

    async def ask(self, request: object) -> list[Any]:
        """All answers to one request."""
        client = await self.connect()
        await client.send(msgpack.packb(request))
        return [answer async for answer in client]

    async def ids(self, request: object) -> list[str]:
        return [answer["resource"]["metadata"]["id"] for answer in await self.ask(request) if "resource" in answer]

    async def still_answers(self) -> bool:
        with trio.fail_after(PATIENCE):
            (answer, end) = await self.ask({"call": "version"})
        return bool(end == {"end": True} and answer["version"] == "1.2.3")


class Client:
    """One connection, without any manners of its own. Iterate over it for the answers."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._unpacker = msgpack.Unpacker(unicode_errors=protocol.UNICODE_ERRORS)

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    def __aiter__(self) -> "Client":
        return self

    async def __anext__(self) -> Any:
        while True:
            for answer in self._unpacker:
                return answer
            data = await self.stream.receive_some()
            if not data:
                raise StopAsyncIteration
            self._unpacker.feed(data)


@contextlib.asynccontextmanager
async def serving(directory: Path, *, history: int = 100) -> AsyncIterator[Served]:
    log = LogCapture()
    logger = structlog.wrap_logger(None, processors=[log])
    state = MemoryState(max_capacity=history)
    engine = Engine(state, log=logger)
    await engine.register(ThingController())
    await register_types(state, [Thing, Other, Secret, Peer])
    path = directory / "agent.sock"
    async with listen(path) as listener, trio.open_nursery() as nursery:
        nursery.start_soon(LocalServer(state, engine, logger, version="1.2.3").serve, listener)
        served = Served(state, path, log)
        try:
            yield served
        finally:
            for stream in served.clients:
                stream.socket.close()
        nursery.cancel_scope.cancel()


def failures(served: Served) -> list[Any]:
    return [entry for entry in served.log.entries if entry["log_level"] in ("error", "exception", "warning")]


# What it answers.


async def test_the_version_names_the_agent_that_answers(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        assert await served.ask({"call": "version"}) == [
            {"version": "1.2.3", "pid": os.getpid(), "node": socket.gethostname()},
            {"end": True},
        ]


async def test_the_graph_has_the_controllers_their_edges_and_counts(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        await served.put("one")
        assert await served.ask({"call": "graph"}) == [
            {
                "controllers": {"test.ThingController": {"wakeups": 1, "crashes": 0}},
                "edges": [["test.ThingController", "", "Things.test.dev", "", 0]],
                "resources": {"Things.test.dev": 1},
            },
            {"end": True},
        ]


async def test_what_a_resource_was_made_from_begins_with_itself(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        await served.put("one")
        cause = {
            "depth": 0,
            "namespace": "test",
            "type": "Thing",
            "id": "one",
            "version": 1,
            "owner": "",
            "note": "not made by a controller of this agent",
            "repeated": False,
        }
        assert await served.ask(WHY) == [cause, {"end": True}]


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({**WHY, "id": "none"}, protocol.NOT_FOUND),
        ({**WHY, "namespace": "nowhere"}, protocol.DENIED),
        ({**WHY, "type": "nothings"}, protocol.NOT_FOUND),
        ({**WHY, "depth": -1}, protocol.INVALID),
        ({**WHY, "depth": None}, protocol.INVALID),
        ({**WHY, "id": None}, protocol.INVALID),
    ],
)
async def test_a_question_for_causes_that_has_no_answer_is_an_error(
    tmp_path: Path, request_: dict[str, Any], code: str
) -> None:
    async with serving(tmp_path) as served:
        await served.put("one")
        (answer,) = await served.ask(request_)
        assert answer["error"] == code


async def test_a_list_is_the_definition_the_resources_by_id_and_an_end(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        for id in ("c", "a", "b"):
            await served.put(id, text=f"text of {id}")
        head, *resources, end = await served.ask(GET)
        assert head["definition"]["displayType"] == "Thing"
        assert head["definition"]["printColumns"] == [{"name": "Text", "jsonPath": ".text"}]
        assert [answer["event"] for answer in resources] == ["created"] * 3
        assert [answer["resource"]["spec"]["text"] for answer in resources] == ["text of a", "text of b", "text of c"]
        assert end == {"end": True}


async def test_an_empty_list_is_a_definition_and_an_end(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        head, end = await served.ask(GET)
        assert "definition" in head
        assert end == {"end": True}


async def test_one_resource_is_got_by_id(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        await served.put("one")
        await served.put("two")
        assert await served.ids({**GET, "id": "two"}) == ["two"]


async def test_the_form_yaml_is_written_by_the_server(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        await served.put("one", text="yes")
        _, answer, _ = await served.ask({**GET, "form": "yaml"})
        assert answer["metadata"]["id"] == "one"
        assert answer["yaml"].startswith("metadata:\n    namespace: test\n    type: Things.test.dev\n    id: one\n")
        assert answer["yaml"].endswith('spec:\n    text: "yes"\n')


@pytest.mark.parametrize("typed", ["thing", "Things", "THINGS.TEST.DEV", "things.test"])
async def test_a_type_is_known_by_all_its_names_in_any_case(tmp_path: Path, typed: str) -> None:
    async with serving(tmp_path) as served:
        await served.put("one")
        assert await served.ids({**GET, "type": typed}) == ["one"]


async def test_definitions_are_resources_too(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        assert "things.test.dev" in await served.ids({**GET, "type": "rd"})


@pytest.mark.parametrize(
    ("selectors", "ids"),
    [
        (["app=web"], ["a", "b"]),
        (["app=web,tier!=test"], ["a"]),
        (["app=web", "app=db"], ["a", "b", "c"]),
        (["!app"], ["d"]),
        ([], ["a", "b", "c", "d"]),
        (None, ["a", "b", "c", "d"]),
    ],
)
async def test_selectors_choose_by_label(tmp_path: Path, selectors: Any, ids: list[str]) -> None:
    async with serving(tmp_path) as served:
        await served.put("a", app="web")
        await served.put("b", app="web", tier="test")
        await served.put("c", app="db")
        await served.put("d")
        assert await served.ids({**GET, "selectors": selectors}) == ids


async def test_what_is_no_text_to_others_goes_through_unharmed(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        await served.put("\udcff\udcfe")
        assert await served.ids(GET) == ["\udcff\udcfe"]


async def test_a_list_longer_than_any_buffer_arrives_whole(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        for number in range(2000):
            await served.put(f"{number:04}", text="x" * 500)
        assert await served.ids(GET) == [f"{number:04}" for number in range(2000)]


# What it refuses.

REFUSED = [
    ({**GET, "type": "nosuch"}, "not_found", "no such type is registered: 'nosuch'"),
    ({**GET, "id": "nosuch"}, "not_found", "resource Things.test.dev(test/nosuch) doesn't exist"),
    ({**GET, "type": "thign"}, "not_found", "no such type is registered: 'thign', did you mean 'thing'?"),
    ({**GET, "type": "Thnigs.test.dev"}, "not_found", "did you mean 'Things.test.dev'?"),
    ({**GET, "namespace": "tset"}, "denied", "no such namespace is registered: tset, did you mean 'test'?"),
    ({**GET, "namespace": "nosuch"}, "denied", "no such namespace is registered: nosuch"),
    ({**GET, "namespace": "nosuch", "id": "x"}, "denied", "no such namespace is registered: nosuch"),
    ({**WATCH, "namespace": "nosuch"}, "denied", "no such namespace is registered: nosuch"),
    ({**GET, "selectors": ["(("]}, "invalid", "selector '((' cannot be read at character 1"),
    ({**GET, "selectors": "app"}, "invalid", "must be a list of texts"),
    ({**GET, "selectors": 5}, "invalid", "must be a list of texts"),
    ({**GET, "selectors": [5]}, "invalid", "must be a list of texts"),
    ({**GET, "id": 5}, "invalid", "'id' must be text"),
    ({**GET, "id": []}, "invalid", "'id' must be text"),
    ({**GET, "id": {}}, "invalid", "'id' must be text"),
    ({**GET, "type": 5}, "invalid", "'type' must be text"),
    ({**GET, "namespace": None}, "invalid", "'namespace' must be text"),
    ({**GET, "form": "xml"}, "invalid", "unknown form 'xml'"),
    ({"call": "get"}, "invalid", "'type' must be text"),
    ({"call": "shutdown"}, "invalid", "unknown call 'shutdown'"),
    ({}, "invalid", "unknown call None"),
    ([], "invalid", "must be a msgpack map"),
    ("get", "invalid", "must be a msgpack map"),
    (None, "invalid", "must be a msgpack map"),
    ({1: 2}, "invalid", "is not msgpack"),
]


@pytest.mark.parametrize(("request_", "code", "text"), REFUSED)
async def test_a_request_that_cannot_be_answered_gets_the_reason(
    tmp_path: Path, request_: object, code: str, text: str
) -> None:
    async with serving(tmp_path) as served:
        (answer,) = await served.ask(request_)
        assert answer["error"] == code
        assert text in answer["message"]
        assert await served.still_answers()
        assert failures(served) == []


async def test_a_resource_is_found_by_its_label_too(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        for id, label in (("k1", "web"), ("k2", "db"), ("k3", "db"), ("db-key", "k1")):
            await served.state.create(Peer.new(id, PeerSpec(label=label)))
        peers = {**GET, "type": "peer"}
        assert await served.ids({**peers, "id": "web"}) == ["k1"]
        assert await served.ids({**peers, "id": "k1"}) == ["k1"]  # an id wins over a label
        causes = await served.ask({**WHY, "type": "peer", "id": "web"})
        assert causes[0]["id"] == "k1"
        for call in (peers, {**WHY, "type": "peer"}):
            (ambiguous,) = await served.ask({**call, "id": "db"})
            assert (ambiguous["error"], ambiguous["message"]) == (
                "invalid",
                "'db' is ambiguous, give one of the ids: k2, k3",
            )
            (unknown,) = await served.ask({**call, "id": "wbe"})
            assert unknown["message"].endswith("doesn't exist, did you mean 'web'?")


GARBAGE = {
    "no msgpack": b"\xc1",
    "http": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a map without end": b"\xdf\xff\xff\xff\xff",
    "no text": msgpack.packb({"call": b"\xff\xfe"}, use_bin_type=False),
    "too deep": b"\x91" * 2000,
    "a bad extension": b"\xc7\x05\xff12345",
}


@pytest.mark.parametrize("data", GARBAGE.values(), ids=GARBAGE.keys())
async def test_garbage_is_refused(tmp_path: Path, data: bytes) -> None:
    async with serving(tmp_path) as served:
        client = await served.connect()
        await client.send(data)
        (answer,) = [answer async for answer in client]
        assert answer["error"] == "invalid"
        assert failures(served) == []


async def test_a_request_without_end_is_cut_off(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        client = await served.connect()
        request = msgpack.packb({**GET, "type": "x" * protocol.MAX_REQUEST})
        with contextlib.suppress(trio.BrokenResourceError):
            for start in range(0, len(request), 1024):
                await client.send(request[start : start + 1024])
        received = b""
        with contextlib.suppress(trio.BrokenResourceError):
            async for data in client.stream:
                received += data
        if received:  # the kernel may throw the answer away with what was not read of the request
            assert "longer than" in msgpack.unpackb(received)["message"]
        assert await served.still_answers()
        assert failures(served) == []


async def test_a_request_may_come_byte_by_byte(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        client = await served.connect()
        for byte in msgpack.packb({"call": "version"}):
            await client.send(bytes([byte]))
        assert len([answer async for answer in client]) == 2


@pytest.mark.parametrize("data", [b"", msgpack.packb(GET)[:-1]])
async def test_a_client_that_disconnects_before_its_request_is_not_a_failure(tmp_path: Path, data: bytes) -> None:
    async with serving(tmp_path) as served:
        client = await served.connect()
        await client.send(data)
        await client.stream.aclose()
        assert await served.still_answers()
        assert failures(served) == []


async def test_a_client_that_never_asks_is_sent_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_REQUEST_TIMEOUT", 0.05)
    async with serving(tmp_path) as served:
        client = await served.connect()
        assert [answer async for answer in client] == [{"error": "invalid", "message": "no request came"}]


async def test_a_failure_of_the_server_is_reported_to_the_client_and_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_spec: object) -> None:
        raise ZeroDivisionError

    async with serving(tmp_path) as served:
        await served.put("one")
        monkeypatch.setattr(local, "resource_to_plain", broken)
        answers = await served.ask(GET)
        assert answers[-1]["error"] == "internal"
        assert "log" in answers[-1]["message"]
        assert [entry["event"] for entry in failures(served)] == ["a request on the local socket failed"]
        answers = await served.ask(WATCH)
        assert answers[-1]["error"] == "internal"
        assert await served.still_answers()


# Who may see what.


@pytest.mark.parametrize(("uid", "allowed"), [(os.geteuid(), True), (0, True), (65534, False)])
@pytest.mark.parametrize(
    "request_", [GET, WATCH, {**GET, "id": "one"}, {**WATCH, "id": "one"}, {**GET, "form": "yaml"}]
)
async def test_what_is_sensitive_is_shown_to_the_owner_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uid: int, allowed: bool, request_: dict[str, Any]
) -> None:
    monkeypatch.setattr(local, "_peer_of", lambda _stream: local.Peer(1, uid))
    async with serving(tmp_path) as served:
        await served.put("one", text="hush", type=Secret)
        client = await served.connect()
        await client.send(msgpack.packb({**request_, "type": "secrets"}))
        first = await anext(client)
        assert ("definition" in first) is allowed
        if not allowed:
            assert first["error"] == "denied"
            assert "hush" not in str(first)


async def test_the_causes_of_a_sensitive_resource_are_shown_to_the_owner_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for uid, answer in ((os.geteuid(), "depth"), (65534, "error")):
        monkeypatch.setattr(local, "_peer_of", lambda _stream, uid=uid: local.Peer(1, uid))
        async with serving(tmp_path) as served:
            await served.put("one", text="hush", type=Secret)
            answers = await served.ask({**WHY, "type": "secrets"})
            assert answer in answers[0]
            assert "hush" not in str(answers)


async def test_what_is_not_sensitive_is_shown_to_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_peer_of", lambda _stream: local.Peer(1, 65534))
    async with serving(tmp_path) as served:
        await served.put("one")
        assert await served.ids(GET) == ["one"]


async def test_the_peer_is_identified_by_the_kernel() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with ours, theirs:
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
        assert local._peer_of(stream) == local.Peer(os.getpid(), os.geteuid())


@pytest.mark.parametrize("is_owner", [True, False])
async def test_clients_cannot_write(is_owner: bool) -> None:
    state = MemoryState()
    await register_types(state, [Thing])
    stored = await state.create(Thing.new("one", ThingSpec()))
    outside = FilteredState(state, read_rule(state, is_owner=is_owner))
    for attempt in (
        lambda: outside.create(Thing.new("two", ThingSpec())),
        lambda: outside.update(stored),
        lambda: outside.destroy(Thing, "one"),
        lambda: outside.teardown(Thing, "one"),
        lambda: outside.add_finalizer(Thing, "one", "f"),
    ):
        with pytest.raises(AccessError, match="can only be read here"):
            await attempt()
    assert state.list(Thing) == [stored]


# Watching.


async def test_a_watch_shows_what_is_there_a_mark_and_then_the_changes(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        await served.put("a")
        client = await served.connect()
        await client.send(msgpack.packb(WATCH))
        answers = client
        assert "definition" in await anext(answers)
        assert (await anext(answers))["event"] == "created"
        assert await anext(answers) == {"event": "bootstrapped"}
        await served.put("b")
        await served.put("a", text="new")
        await served.state.destroy(Thing, "b")
        changes = [await anext(answers) for _ in range(3)]
        assert [(each["event"], each["resource"]["metadata"]["id"]) for each in changes] == [
            ("created", "b"),
            ("updated", "a"),
            ("destroyed", "b"),
        ]
        assert failures(served) == []


async def test_a_watch_of_one_begins_with_its_absence(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        client = await served.connect()
        await client.send(msgpack.packb({**WATCH, "id": "later"}))
        answers = client
        await anext(answers)
        absent = await anext(answers)
        assert (absent["event"], absent["resource"]["metadata"]["version"]) == ("destroyed", "undefined")
        await served.put("other")
        await served.put("later")
        assert (await anext(answers))["event"] == "created"


async def test_resources_enter_and_leave_a_filtered_watch(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        client = await served.connect()
        await client.send(msgpack.packb({**WATCH, "selectors": ["app=web"]}))
        answers = client
        await anext(answers)
        assert await anext(answers) == {"event": "bootstrapped"}
        await served.put("a", app="db")
        await served.put("a", app="web")
        assert (await anext(answers))["event"] == "created"
        await served.put("a", app="db")
        assert (await anext(answers))["event"] == "destroyed"


async def test_a_client_that_left_leaves_no_task_behind(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        client = await served.connect()
        await client.send(msgpack.packb(WATCH))
        answers = client
        await anext(answers)
        await anext(answers)
        assert await served.still_answers()
        during = trio.lowlevel.current_statistics().tasks_living
        await client.stream.aclose()
        await eventually(lambda: trio.lowlevel.current_statistics().tasks_living < during)
        assert failures(served) == []


async def test_a_client_that_dies_in_the_middle_of_an_answer_is_not_a_failure(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        client = await served.connect()
        await client.send(msgpack.packb(WATCH))
        for number in range(50):
            await served.put(str(number), text="x" * 100_000)
        await trio.testing.wait_all_tasks_blocked()
        before = trio.lowlevel.current_statistics().tasks_living
        await client.stream.aclose()  # with much unread, which is a reset to the server
        await eventually(lambda: trio.lowlevel.current_statistics().tasks_living < before)
        assert await served.still_answers()
        assert failures(served) == []


async def test_a_client_that_stops_reading_blocks_no_other_and_gets_an_overrun(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path, history=100) as served:
        slow = await served.connect()
        await slow.send(msgpack.packb(WATCH))
        fast = await served.connect()
        await fast.send(msgpack.packb(WATCH))
        seen: set[str] = set()

        async def read() -> None:
            async for answer in fast:
                assert "error" not in answer
                if "resource" in answer:
                    seen.add(answer["resource"]["metadata"]["id"])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            # The socket's buffers hold a few hundred of these, the history a hundred more.
            for number in range(3000):
                await served.put(str(number), text="x" * 2000)
                if number % 20 == 0:
                    await trio.testing.wait_all_tasks_blocked()
            await eventually(lambda: len(seen) == 3000)
            assert await served.still_answers()
            nursery.cancel_scope.cancel()
        answers = [answer async for answer in slow]
        assert answers[-1]["error"] == "overrun"
        assert len(answers) < 3000
        assert len(await served.ids(GET)) == 3000
        assert failures(served) == []


async def test_a_client_that_does_not_read_a_long_list_blocks_no_other(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        for number in range(1000):
            await served.put(str(number), text="x" * 5000)
        client = await served.connect()
        await client.send(msgpack.packb(GET))
        await trio.testing.wait_all_tasks_blocked()
        assert await served.still_answers()
        await client.stream.aclose()


# The right to serve.


async def test_the_socket_is_its_owners_from_the_first_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modes = []

    class Watched(socket.socket):
        def bind(self, address: Any) -> None:
            super().bind(address)
            modes.append(stat.S_IMODE(os.stat(address).st_mode))

    monkeypatch.setattr(socket, "socket", Watched)
    mask = os.umask(0)
    try:
        async with listen(tmp_path / "agent.sock"):
            modes.append(stat.S_IMODE((tmp_path / "agent.sock").stat().st_mode))
    finally:
        os.umask(mask)
    assert modes == [0o600, 0o600]


async def test_nothing_but_an_empty_lock_is_left(tmp_path: Path) -> None:
    async with listen(tmp_path / "new" / "agent.sock") as listener:
        assert listener.socket.family == socket.AF_UNIX
    assert [(path.name, path.stat().st_size) for path in (tmp_path / "new").iterdir()] == [("agent.sock.lock", 0)]


async def test_a_second_agent_is_refused_with_the_pid_of_the_first(tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    async with listen(path):
        with pytest.raises(AlreadyServedError, match=rf"pid {os.getpid()}\) already serves {re.escape(str(path))}"):
            async with listen(path):
                pass
        assert path.is_socket()


HOLD = """
import sys, time
from pathlib import Path
from nodespan.runtime.api.local import claim
import socket
with claim(Path(sys.argv[1])):
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(sys.argv[1])
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_socket_of_an_agent_that_was_killed_is_taken_over(tmp_path: Path) -> None:
    path, lock = tmp_path / "agent.sock", tmp_path / "agent.sock.lock"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None
        with holder.stdout as lines:
            assert lines.readline() == b"held\n"
        with pytest.raises(AlreadyServedError, match=f"pid {holder.pid}"), claim(path):
            pass
    finally:
        holder.kill()
        holder.wait()
    assert path.is_socket()
    assert lock.read_text() == f"{holder.pid}\n"
    with claim(path):
        assert not path.exists()
        assert lock.read_text() == f"{os.getpid()}\n"


async def test_what_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(FileExistsError) as caught:
        async with listen(path):
            pass
    assert caught.value.filename == str(path)
    assert path.read_text() == "data"


async def test_the_socket_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        with pytest.raises(AlreadyServedError, match="not a nodespan agent"):
            async with listen(path):
                pass
        assert path.is_socket()


async def test_a_path_that_is_too_long_is_named(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 120)
    with pytest.raises(OSError, match="107 bytes") as caught:
        async with listen(path):
            pass
    assert (caught.value.errno, caught.value.filename) == (errno.ENAMETOOLONG, str(path))


async def test_a_path_that_is_not_a_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        async with listen(tmp_path / "file" / "agent.sock"):
            pass


async def test_a_directory_that_may_not_be_written_is_named() -> None:
    with pytest.raises(PermissionError, match="/sys/nodespan"):
        async with listen(Path("/sys/nodespan/agent.sock")):
            pass


async def test_definitions_of_sensitive_types_are_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_peer_of", lambda _stream: local.Peer(1, 65534))
    async with serving(tmp_path) as served:
        assert "secrets.test.dev" in await served.ids({**GET, "type": ResourceDefinition.name})


# Tables.

TABLE: dict[str, Any] = {**GET, "form": "table", "node": "here"}


def _table_of(answers: list[Any]) -> list[str]:
    """The lines of a table in an answer."""
    assert answers[0] == {"outage": None}
    assert answers[-1] == {"end": True}
    return "".join(answer["text"] for answer in answers[1:-1]).splitlines()


async def test_a_large_table_that_is_asked_for_again_is_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    make = Rows.table

    async def counted(self: Rows, node: str, resources: Any) -> Table:
        made.append(len(resources))
        return await make(self, node, resources)

    monkeypatch.setattr(Rows, "table", counted)
    async with serving(tmp_path) as served:
        for number in range(600):
            await served.put(f"{number:03}", "text")
        first = await served.ask(TABLE)
        assert len(_table_of(first)) == 601
        assert await served.ask(TABLE) == first
        assert made == [600]
        await served.put("007", "changed")
        changed = _table_of(await served.ask(TABLE))
        assert changed[8].split() == ["here", "test", "Thing", "007", "2", "changed"]
        # With other columns, under another name, of other resources.
        for other in ({"form": "wide"}, {"node": "there"}, {"selectors": ["a=b"]}):
            assert _table_of(await served.ask({**TABLE, **other})) != changed
        assert made == [600, 600, 600, 600, 0]


async def test_a_table_that_is_kept_is_for_those_who_may_list_its_resources(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        for number in range(600):
            await served.put(f"{number:03}", "hush", type=Secret)
        request = {**TABLE, "type": "secret"}
        assert len(_table_of(await served.ask(request))) == 601
        (answer,) = await served.ask({**request, "as": protocol.READER})
        assert answer["error"] == protocol.DENIED


async def test_the_name_of_a_node_in_a_table_is_no_longer_than_names_are(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        await served.put("one")
        assert len(_table_of(await served.ask({**TABLE, "node": "n" * 255}))) == 2
        (answer,) = await served.ask({**TABLE, "node": "n" * 256})
        assert answer["error"] == protocol.INVALID


async def test_a_table_that_one_long_cell_makes_huge_is_left_to_the_client(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        await served.put("long", "x" * 400_000)
        assert len(_table_of(await served.ask(TABLE))) == 2
        for number in range(200):
            await served.put(f"{number:03}")
        (answer,) = await served.ask(TABLE)
        assert answer["error"] == protocol.INVALID
        assert len(await served.ids({**GET, "form": "data"})) == 201


async def test_a_table_is_not_watched(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        (answer,) = await served.ask({**TABLE, "watch": True})
        assert answer == {"error": protocol.INVALID, "message": "unknown form 'table': expected data or yaml"}
