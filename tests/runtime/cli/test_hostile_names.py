"""Whatever things are called, no command's output makes a terminal do anything, nor breaks a line; programs get it raw.

One agent's state full of bad names, and every command that shows resources on it.
"""

import contextlib
import datetime
import io
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import attrs
import pytest
import structlog
import trio

from nodespan.runtime.api.local import LocalServer, listen
from nodespan.runtime.cli import main
from nodespan.runtime.engine import Engine
from nodespan.runtime.events import Event, EventSpec
from nodespan.runtime.resource import ResourceType
from nodespan.runtime.state import MemoryState
from nodespan.runtime.state.meta import register_types
from nodespan.runtime.text.width import width_of

NAMES = {
    "escape sequence": "a\x1b[2Jb",
    "C1 control": "a\x9b2Jb",
    "line breaks": "a\nb\rc\x85d\u2028e",
    "right to left override": "a\u202egpj.exe",
    "zero width": "a\u200b\u2060b\ufeff",
    "NUL and DEL": "a\x00b\x7f",
    "not text": "a\udcffb",
    "wide": "日本語",
    "right to left": "שלום",
    "combining": "e\u0301",
    "emoji": "👩‍👩‍👧",
}
COMMANDS = (
    ("get", "lamps"),
    ("get", "lamps", "-o", "wide"),
    ("get", "lamps", "-o", "name"),
    ("get", "lamps", "-o", "custom-columns=ID:.metadata.id,TEXT:.spec.text"),
    ("get", "lamps", "-o", "yaml"),
    ("get", "lamps", "-o", "json"),
    ("get", "lamps", "-o", "jsonpath={.spec.text}"),
    ("get", "lamps", "-A"),
    ("get", "lamps,events"),
    ("get", "events"),
    ("describe", "lamps"),
    ("events",),
    ("events", "-o", "json"),
    ("events", "-o", "yaml"),
    ("status",),
    ("status", "-o", "json"),
    ("status", "-o", "yaml"),
    ("graph", "--live"),
)


@attrs.frozen(kw_only=True)
class LampSpec:
    """A lamp."""

    text: str = ""


Lamp = ResourceType("Lamps.test.dev", LampSpec, namespace="runtime", columns={"Text": ".text"})


class Terminal(io.TextIOWrapper):
    """A stdout that is a terminal, or not."""

    def __init__(self, *, is_terminal: bool) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", errors="backslashreplace")
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal

    def text(self) -> str:
        self.flush()
        buffer = self.buffer
        assert isinstance(buffer, io.BytesIO)
        return buffer.getvalue().decode()


@contextlib.asynccontextmanager
async def agent(path: Path) -> AsyncIterator[None]:
    state, log = MemoryState(), structlog.get_logger()
    await register_types(state, [Lamp, Event])
    moment = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
    for number, name in enumerate(NAMES.values()):
        await state.create(Lamp.new(name, LampSpec(text=name)))
        spec = EventSpec(time=moment, kind=name, text=name, namespace="runtime", type=Lamp.name, id=name)
        await state.create(Event.new(f"{number:016d}", spec))
    async with listen(path) as listener, trio.open_nursery() as nursery:
        nursery.start_soon(LocalServer(state, Engine(state, log=log), log, version="1").serve, listener)
        yield
        nursery.cancel_scope.cancel()


async def output(
    path: Path, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, *, is_terminal: bool, columns: str = "80"
) -> str:
    stdout = Terminal(is_terminal=is_terminal)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stdout)
        patch.setenv("NODESPAN_SOCKET", str(path))
        patch.setenv("COLUMNS", columns)
        patch.setenv("NO_COLOR", "1")
        status = await trio.to_thread.run_sync(main, list(command))
    assert status in (0, 3), command
    return stdout.text()


async def test_on_a_terminal_no_name_does_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with agent(tmp_path / "s"):
        for command in COMMANDS:
            text = await output(tmp_path / "s", command, monkeypatch, is_terminal=True)
            bad = {char for line in text.split("\n") for char in line if not char.isprintable() and char != "\t"}
            assert not bad, f"{command}: {bad!r}"


async def test_programs_get_names_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with agent(tmp_path / "s"):
        text = await output(tmp_path / "s", ("events", "-o", "json"), monkeypatch, is_terminal=False)
        found = [json.loads(line)["id"] for line in text.split("\n") if line]
    assert found == list(NAMES.values())


async def test_tables_are_aligned_by_what_a_terminal_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with agent(tmp_path / "s"):
        text = await output(tmp_path / "s", ("get", "lamps"), monkeypatch, is_terminal=False)
    head, *lines = text.split("\n")[:-1]
    column = head.index("VERSION")
    for line in lines:
        before = next(line[:end] for end in range(len(line)) if width_of(line[:end]) >= column and line[end] == "1")
        assert width_of(before) == column, line


async def test_several_types_are_listed_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def shown(*command: str) -> str:
        return await output(tmp_path / "s", ("get", *command), monkeypatch, is_terminal=False)

    async with agent(tmp_path / "s"):
        lamps, events = await shown("lamps"), await shown("events")
        assert await shown("lamps,events") == f"{lamps}\n{events}"
        assert await shown("lamps,events", "-o", "name") == "".join(
            [await shown(type, "-o", "name") for type in ("lamps", "events")]
        )
        documents = (await shown("lamps,events", "-o", "yaml")).split("\n---\n")
        assert len(documents) == 2 * len(NAMES)


@pytest.mark.parametrize(
    ("command", "part"),
    [
        (("get", "lamps,events", "-w"), "name one type to watch it"),
        (("get", "lamps,events", "x"), "name one type"),
        (("get", "pods"), "nodespan does not run Kubernetes: kubectl get pods"),
        (("get", "lamps,nodes"), "nodespan get members"),
        (("get", "lampss"), "did you mean"),
        (("get", "lamps", "-o", "go-template={{.spec.text}}"), "use -o jsonpath='{.spec.text}'"),
        (("get", "lamps", "-n", "10.0.0.1"), "nodespan --nodes 10.0.0.1 get ..."),
    ],
)
async def test_what_cannot_be_shown_is_answered_with_what_to_type(
    tmp_path: Path,
    command: tuple[str, ...],
    part: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    async with agent(tmp_path / "s"):
        with monkeypatch.context() as patch:
            patch.setenv("NODESPAN_SOCKET", str(tmp_path / "s"))
            assert await trio.to_thread.run_sync(main, list(command)) == 1
    assert part in capfd.readouterr().err


@pytest.mark.parametrize("columns", ["20", "41"])
async def test_screens_fit_into_narrow_terminals(tmp_path: Path, columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with agent(tmp_path / "s"):
        text = await output(tmp_path / "s", ("status",), monkeypatch, is_terminal=True, columns=columns)
    assert all(width_of(line) <= int(columns) for line in text.split("\n"))


@pytest.mark.parametrize(
    "command", [("status",), ("events",), ("get", "lamps"), ("describe", "lamps"), ("graph", "--live")]
)
async def test_a_reader_that_has_seen_enough_is_no_error(
    tmp_path: Path, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    class Broken(Terminal):
        def write(self, text: str) -> int:
            raise BrokenPipeError(32, "Broken pipe")

    async with agent(tmp_path / "s"):
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", Broken(is_terminal=False))
            patch.setenv("NODESPAN_SOCKET", str(tmp_path / "s"))
            status = await trio.to_thread.run_sync(main, list(command))
    assert status == 0
    assert capfd.readouterr().err == ""
