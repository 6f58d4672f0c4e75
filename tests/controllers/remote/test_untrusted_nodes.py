"""What one node of several says costs the others nothing: it is not usable, and each of them is shown."""

import argparse
import contextlib
import datetime
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import attrs
import pytest
import trio

from nodespan.controllers.remote import events as asked_events
from nodespan.controllers.remote.events import last_of
from nodespan.controllers.remote.get import get
from nodespan.controllers.remote.nodes import Asked, Target
from nodespan.controllers.remote.talosconfig import Context
from nodespan.runtime.api.grpc import Code
from nodespan.runtime.api.grpc.client import CallError
from nodespan.runtime.cli.get import Follower, make_output
from nodespan.runtime.codec.messages import SpecMessages
from nodespan.runtime.codec.resources import encode_resource
from nodespan.runtime.codec.wire import resource_pb2 as wire
from nodespan.runtime.events import Event
from nodespan.runtime.events.resource import EventSpec, event_id
from nodespan.runtime.resource import Resource
from nodespan.runtime.resource.definition import definition_resource

NOON = datetime.datetime(2026, 1, 2, 12, tzinfo=datetime.UTC)


def message(spec: EventSpec, number: int = 1) -> wire.Resource:
    metadata = attrs.evolve(Event.new(event_id(number), spec).metadata, version=1)
    return encode_resource(Resource(metadata, spec), SpecMessages())


def good(number: int = 1) -> wire.Resource:
    return message(EventSpec(time=NOON, kind="link", text=f"text {number}"), number)


def with_yaml(text: str) -> wire.Resource:
    found = good()
    found.spec.yaml_spec = text
    return found


def with_metadata(**fields: str) -> wire.Resource:
    found = good()
    for name, value in fields.items():
        setattr(found.metadata, name, value)
    return found


# Nine of nine of nine of nine words: each further line would be nine times as many once it is written out.
GROWING = "a0: &a0 x\n" + "".join(f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 9)}]\n" for n in range(4))
HOSTILE = {
    "no yaml": with_yaml("a: ["),
    "no anchor": with_yaml("a: *x"),
    "a tag": with_yaml("!!python/object:os.system x"),
    "aliases": with_yaml(GROWING),
    "deep": with_yaml("[" * 5_000),
    "other fields": with_yaml("{}"),
    "text": with_yaml("text"),
    "no version": with_metadata(version="\x1b[2J"),
    "no phase": with_metadata(phase="x"),
}


@attrs.define
class Channels:
    """Nodes by their names: the definitions that they list, their events, and what their watch says."""

    events: dict[str, list[wire.Resource]]
    definitions: dict[str, list[wire.Resource]] = attrs.field(factory=dict)
    kinds: dict[str, int] = attrs.field(factory=dict)

    @contextlib.asynccontextmanager
    async def stream(
        self, path: str, request: Any, _decode: Any, *, metadata: list[tuple[str, str]], **_: Any
    ) -> AsyncIterator[Any]:
        node = dict(metadata)["node"]
        plain = attrs.evolve(definition_resource(Event).metadata, version=1)
        known = encode_resource(Resource(plain, Event.definition), SpecMessages())

        async def answers() -> AsyncGenerator[Any, None]:
            await trio.lowlevel.checkpoint()
            if request.type != Event.name:
                for each in self.definitions.get(node, [known]):
                    yield wire.ListResponse(resource=each)
            elif path.endswith("/List"):
                for each in self.events[node]:
                    yield wire.ListResponse(resource=each)
            else:
                kind: Any = self.kinds.get(node, wire.EventType.CREATED)
                yield wire.WatchResponse(event=[wire.Event(event_type=wire.EventType.BOOTSTRAPPED)])
                for each in self.events[node]:
                    yield wire.WatchResponse(event=[wire.Event(event_type=kind, resource=each)])
                raise CallError(Code.PERMISSION_DENIED, "enough")

        async with contextlib.aclosing(answers()) as stream:
            yield stream


def target_of(channels: Channels, monkeypatch: pytest.MonkeyPatch) -> Target:
    @contextlib.asynccontextmanager
    async def channel(_target: Target) -> AsyncIterator[Channels]:
        yield channels

    monkeypatch.setattr(Target, "channel", channel)
    return Target(Context(endpoints=("entry",)), ("bad", "one", "two"))


def options(**given: Any) -> argparse.Namespace:
    return argparse.Namespace(**{"output": "text", "since": "", "kinds": [], "last": None, "watch": False} | given)


@pytest.mark.parametrize("watch", [False, True], ids=["listed", "watched"])
@pytest.mark.parametrize("bad", HOSTILE.values(), ids=HOSTILE)
def test_events_that_cannot_be_shown_are_an_error_of_their_node_alone(
    bad: wire.Resource, watch: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    channels = Channels({"bad": [bad], "one": [good()], "two": [good()]})
    assert asked_events.events(target_of(channels, monkeypatch), options(watch=watch)) == 1
    said = capsys.readouterr()
    assert [line.split()[0] for line in said.out.splitlines()] == ["one", "two"] or watch
    assert said.out.count("text 1") == 2
    assert "bad: its answer cannot be shown" in said.err
    assert said.err.replace("\n", "").isprintable()


@pytest.mark.parametrize("watch", [False, True], ids=["listed", "watched"])
@pytest.mark.parametrize("output", ["table", "yaml", "json", "jsonpath={.spec.text}", "name"])
def test_resources_that_cannot_be_shown_are_an_error_of_their_node_alone(
    output: str, watch: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = with_metadata(version="x")
    channels = Channels({"bad": [bad], "one": [good()], "two": [good(2)]})
    asked = Asked("events", None, "", (), make_output(output, "", watch=watch).form)
    assert get(target_of(channels, monkeypatch), asked, output=output, watch=watch) == 1
    said = capsys.readouterr()
    assert "bad: its answer cannot be shown" in said.err
    for number in (1, 2):
        assert event_id(number) in said.out or f"text {number}" in said.out


@pytest.mark.parametrize("output", ["table", "json", "jsonpath={.spec}"])
def test_words_that_an_answer_repeats_by_aliases_are_not_written_out(
    output: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    channels = Channels({"bad": [with_yaml(GROWING)], "one": [good()], "two": [good(2)]})
    asked = Asked("events", None, "", (), make_output(output, "", watch=False).form)
    assert get(target_of(channels, monkeypatch), asked, output=output, watch=False) == 1
    said = capsys.readouterr()
    assert "bad: its answer cannot be shown (ComposerError: it has an alias" in said.err
    assert said.out.count("x") < 100


def test_a_node_with_resources_without_end_is_an_error_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    channels = Channels({"bad": [good(number) for number in range(1, 5)], "one": [good(5)], "two": [good(6)]})
    asked = Asked("events", None, "", (), "data")
    # What the four of it take together, and not one of them.
    monkeypatch.setattr(Follower.__init__, "__kwdefaults__", {"largest": 3_000})
    assert get(target_of(channels, monkeypatch), asked, output="name", watch=True) == 1
    said = capsys.readouterr()
    assert "bad: it has more resources than are kept here" in said.err
    for number in (5, 6):
        assert event_id(number) in said.out


def test_an_expression_that_fits_one_node_only_is_the_error_of_the_other_ones(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    channels = Channels({"bad": [with_yaml("{}")], "one": [good()], "two": [good(2)]})
    output = "jsonpath={.spec.text}"
    asked = Asked("events", None, "", (), "data")
    assert get(target_of(channels, monkeypatch), asked, output=output, watch=False) == 1
    said = capsys.readouterr()
    assert said.out == "text 1\ntext 2\n"
    assert said.err.startswith("bad: ")
    assert "cannot be shown" not in said.err


def test_types_that_cannot_be_read_and_events_that_nobody_knows_are_an_error_of_their_node_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    channels = Channels({"bad": [good()], "one": [good()], "two": [good()]})
    channels.definitions["bad"] = [wire.Resource()]
    channels.kinds["one"] = 77
    target = target_of(channels, monkeypatch)
    assert asked_events.events(target, options(watch=True)) == 1
    said = capsys.readouterr()
    assert sorted(line.partition(" (")[0] for line in said.err.splitlines()) == [
        "bad: its answer cannot be shown",
        "one: its answer cannot be shown",
        "two: enough",
    ]
    assert said.out.count("text 1") == 1


@pytest.mark.parametrize(("count", "last"), [(2, [2, 3]), (3, [1, 2, 3]), (4, [1, 2, 3]), (5, [1, 2, 3]), (0, [])])
def test_the_last_events_are_all_of_them_if_there_are_not_so_many(count: int, last: list[int]) -> None:
    assert last_of([1, 2, 3], count) == last
