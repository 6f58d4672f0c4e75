"""Feeds: one watch for each kind, what a reader is sent, and what a slow one costs."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import structlog
import trio

from nodespan.runtime.api.browser.door import Rights
from nodespan.runtime.api.browser.feeds import Feeds, Reader, Topic, open_feeds
from nodespan.runtime.api.local import LocalServer, listen
from nodespan.runtime.engine import Engine
from nodespan.runtime.resource import ResourceType
from nodespan.runtime.state import MemoryState
from nodespan.runtime.state.meta import register_types


@attrs.frozen(kw_only=True)
class ThingSpec:
    text: str = ""


Thing = ResourceType("Things.test.dev", ThingSpec, namespace="test")
Secret = ResourceType("Secrets.test.dev", ThingSpec, namespace="test", sensitive=True)
THINGS = Topic(Thing.name, "", Rights.ALL)
SECRETS = Topic(Secret.name, "", Rights.ALL)


@asynccontextmanager
async def serving(state: MemoryState, path: Path) -> AsyncIterator[None]:
    """An agent's socket."""
    async with listen(path) as listener, trio.open_nursery() as nursery:
        nursery.start_soon(LocalServer(state, Engine(state), structlog.get_logger(), version="1").serve, listener)
        yield
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def following(directory: Path) -> AsyncIterator[tuple[MemoryState, Feeds]]:
    """A state, and the feeds of an agent that has it."""
    state = MemoryState()
    await register_types(state, [Thing, Secret])
    path = directory / "agent.sock"
    async with serving(state, path), open_feeds(str(path)) as feeds:
        yield state, feeds


Events = list[tuple[str, dict[str, Any]]]


def parse(text: str) -> Events:
    """Server-sent events, without comments."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "event" in fields:
            found.append((fields["event"], json.loads(fields["data"])))
    return found


async def read(reader: Reader, until: str) -> Events:
    """What a reader is sent, up to an event of a name."""
    found: Events = []
    while not any(name == until for name, _ in found):
        await reader.wait()
        found += parse(reader.take())
    return found


def ids(events: Events) -> list[str]:
    return [resource["metadata"]["id"] for name, data in events if name == "changes" for resource in data["set"]]


async def test_a_reader_gets_the_contents_and_then_the_changes(tmp_path: Path) -> None:
    async with following(tmp_path) as (state, feeds):
        for name in ("a", "b"):
            await state.create(Thing.new(name, ThingSpec(text=name)))
        async with feeds.reader([THINGS]) as reader:
            events = await read(reader, "ready")
            assert [name for name, _ in events] == ["link", "kind", "changes", "ready"]
            assert events[0][1] == {"n": 0, "up": True}
            assert events[1][1]["definition"]["type"] == Thing.name
            assert ids(events) == ["a", "b"]
            await state.destroy(Thing, "a")
            assert await read(reader, "changes") == [("changes", {"n": 0, "set": [], "gone": ["a"]})]


async def test_many_readers_share_one_watch_and_it_ends_with_the_last(tmp_path: Path) -> None:
    async with following(tmp_path) as (state, feeds):
        await state.create(Thing.new("a", ThingSpec()))
        async with feeds.reader([THINGS]) as first:
            await read(first, "ready")
            (feed,) = first.feeds
            async with feeds.reader([SECRETS, THINGS]) as second:
                assert feed in second.feeds
                events = await read(second, "changes")
                assert [data["n"] for name, data in events if name == "changes"] == [1]
            assert list(feeds.topics) == [THINGS]
        assert list(feeds.topics) == []


async def test_a_slow_reader_costs_a_mark_for_each_resource_and_gets_the_present(tmp_path: Path) -> None:
    async with following(tmp_path) as (state, feeds):
        current = await state.create(Thing.new("a", ThingSpec()))
        async with feeds.reader([THINGS]) as slow, feeds.reader([THINGS]) as quick:
            await read(slow, "ready")
            await read(quick, "ready")
            for number in range(200):
                current = await state.update(current.with_spec(ThingSpec(text=str(number))))
                await read(quick, "changes")
            (marks,) = slow.feeds.values()
            assert list(marks.ids) == ["a"]
            ((_, data),) = await read(slow, "changes")
            assert [resource["spec"]["text"] for resource in data["set"]] == ["199"]


async def test_many_resources_come_in_parts(tmp_path: Path) -> None:
    async with following(tmp_path) as (state, feeds):
        names = [f"{number:04}" for number in range(600)]
        for name in names:
            await state.create(Thing.new(name, ThingSpec()))
        async with feeds.reader([THINGS]) as reader:
            events = await read(reader, "ready")
            sizes = [len(data["set"]) for name, data in events if name == "changes"]
            assert ids(events) == names
            assert max(sizes) <= 250


async def pieces_until_ready(reader: Reader) -> list[str]:
    """What a reader of two kinds is sent, as it was taken."""
    pieces: list[str] = []
    while sum(piece.count("event: ready\n") for piece in pieces) < 2:
        await reader.wait()
        pieces.append(reader.take())
    return pieces


async def test_what_is_sent_at_once_has_a_size(tmp_path: Path) -> None:
    async with following(tmp_path) as (state, feeds):
        for number in range(40):
            await state.create(Thing.new(f"{number:04}", ThingSpec(text="x" * 10_000)))
            await state.create(Secret.new(f"{number:04}", ThingSpec()))
        async with feeds.reader([THINGS, SECRETS]) as first, feeds.reader([THINGS, SECRETS]) as second:
            await pieces_until_ready(first)
            pieces = await pieces_until_ready(second)
            assert max(map(len, pieces)) < 64 * 1024 + 11_000
            assert len(ids(parse("".join(pieces)))) == 80
        async with feeds.reader([THINGS, SECRETS]) as first:
            await pieces_until_ready(first)
            # All is there by now. A kind with much to send does not hold up the others.
            async with feeds.reader([THINGS, SECRETS]) as second:
                pieces = await pieces_until_ready(second)
                assert ['"n":1,"set"' in piece for piece in pieces[:2]] == [False, True]


async def test_a_kind_has_one_name(tmp_path: Path) -> None:
    async with following(tmp_path) as (_, feeds):
        topics = [
            Topic(name, namespace, Rights.ALL)
            for name in ("things", "THINGS", Thing.name.lower())
            for namespace in ("", "test")
        ]
        async with feeds.reader([*topics, Topic(Thing.name, "test", Rights.ALL), THINGS]) as reader:
            seen: dict[int, tuple[str, str]] = {}
            while len(seen) < 8:
                await reader.wait()
                seen |= {
                    data["n"]: (name, data.get("message", ""))
                    for name, data in parse(reader.take())
                    if name in ("failed", "ready")
                }
            assert {seen[number] for number in range(6)} == {("failed", f"the type is called {Thing.name} here")}
            assert seen[6] == ("failed", "test is the namespace of the type: leave it out")
            assert seen[7] == ("ready", "")


async def test_so_many_kinds_are_followed_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nodespan.runtime.api.browser.feeds.MOST_FEEDS", 1)
    async with following(tmp_path) as (_, feeds):
        async with feeds.reader([THINGS]) as first:
            await read(first, "ready")
            async with feeds.reader([SECRETS, THINGS]) as second:
                events = await read(second, "ready")
                assert [(name, data["n"]) for name, data in events if name in ("failed", "ready")] == [
                    ("failed", 0),
                    ("ready", 1),
                ]
            assert list(feeds.topics) == [THINGS]
        async with feeds.reader([SECRETS]) as later:
            await read(later, "ready")


async def test_the_contents_of_sensitive_resources_do_not_leave_the_process(tmp_path: Path) -> None:
    async with following(tmp_path) as (state, feeds):
        await state.create(Secret.new("a", ThingSpec(text="hidden")))
        async with feeds.reader([SECRETS]) as reader:
            ((_, data),) = [event for event in await read(reader, "ready") if event[0] == "changes"]
            assert [(each["metadata"]["id"], each["spec"]) for each in data["set"]] == [("a", None)]


async def test_readers_without_rights_are_refused_what_is_sensitive(tmp_path: Path) -> None:
    async with following(tmp_path) as (state, feeds):
        await state.create(Secret.new("a", ThingSpec(text="hidden")))
        async with feeds.reader([Topic(Secret.name, "", Rights.READER)]) as reader:
            ((name, data),) = [event for event in await read(reader, "failed") if event[0] != "link"]
            assert (name, data["code"]) == ("failed", "denied")
            # One that comes later is told the same.
            async with feeds.reader([Topic(Secret.name, "", Rights.READER)]) as later:
                assert (await read(later, "failed"))[-1] == (name, data)


async def test_an_unknown_type_fails_and_others_go_on(tmp_path: Path) -> None:
    async with following(tmp_path) as (_, feeds), feeds.reader([Topic("nothing", "", Rights.ALL), THINGS]) as reader:
        seen: set[tuple[str, int]] = set()
        while seen < {("failed", 0), ("ready", 1)}:
            await reader.wait()
            seen |= {(name, data["n"]) for name, data in parse(reader.take()) if name in ("failed", "ready")}
        assert seen == {("failed", 0), ("ready", 1)}


async def test_feeds_survive_a_restart_of_the_agent(tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    state, other = MemoryState(), MemoryState()
    for each in (state, other):
        await register_types(each, [Thing])
    for name in ("goes", "stays"):
        await state.create(Thing.new(name, ThingSpec()))
    for name in ("comes", "stays"):
        await other.create(Thing.new(name, ThingSpec()))
    async with open_feeds(str(path)) as feeds, feeds.reader([THINGS]) as reader:
        async with serving(state, path):
            await read(reader, "ready")
        assert await read(reader, "link") == [("link", {"n": 0, "up": False})]
        async with serving(other, path):
            seen: dict[str, bool] = {}
            while seen.keys() < {"comes", "goes"}:
                for name, data in await read(reader, "changes"):
                    if name == "changes":
                        seen |= {each["metadata"]["id"]: True for each in data["set"]} | dict.fromkeys(
                            data["gone"], False
                        )
            assert (seen["comes"], seen["goes"]) == (True, False)


async def test_names_that_are_not_text_and_texts_that_look_like_events_come_through(tmp_path: Path) -> None:
    async with following(tmp_path) as (state, feeds):
        await state.create(Thing.new("eth\udcff", ThingSpec(text="a\n\nevent: ready\ndata: {}\n\n</script>\u202e")))
        async with feeds.reader([THINGS]) as reader:
            text = ""
            while "\n\nevent: ready" not in text:
                await reader.wait()
                text += reader.take()
            assert text.isascii()
            events = parse(text)
            assert ids(events) == ["eth\udcff"]
            assert [name for name, _ in events] == ["link", "kind", "changes", "ready"]
