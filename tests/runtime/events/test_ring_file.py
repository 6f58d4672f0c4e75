"""The file of events: whole lines, bounded, and damaged lines cost no others."""

import datetime
import json
import os
import stat
from pathlib import Path

import pytest

from nodespan.runtime.events import EventSpec, Severity
from nodespan.runtime.events.ring_file import Numbered, RingFile

NOON = datetime.datetime(2026, 1, 2, 12, 0, 0, 5, tzinfo=datetime.UTC)


def event(number: int, text: str = "x") -> Numbered:
    return number, EventSpec(time=NOON, severity=Severity.ERROR, kind="k", text=text, namespace="n", type="t", id="i")


def ring(path: Path, capacity: int = 10) -> RingFile:
    file = RingFile(path, capacity)
    file.load()
    return file


@pytest.mark.parametrize("text", ["x", "\u2028 \x85 \n \x00", "\udcff", "日本", '"\\'])
def test_an_event_is_read_as_it_was_written(tmp_path: Path, text: str) -> None:
    path = tmp_path / "events"
    ring(path).append([event(1, text)])
    assert RingFile(path, 10).load().events == [event(1, text)]
    assert path.read_bytes().count(b"\n") == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_file_is_bounded_and_has_the_newest(tmp_path: Path) -> None:
    path = tmp_path / "events"
    file = ring(path)
    most = 0
    for number in range(1, 200):
        file.append([event(number)])
        most = max(most, path.read_bytes().count(b"\n"))
    assert most <= 20
    assert RingFile(path, 10).load().events == [event(number) for number in range(190, 200)]


DAMAGE = {
    "no JSON": b"\x00\xff\xfe",
    "no object": b"[1]",
    "a number": b"5",
    "nothing": b"",
    "no time": b'{"number": 3}',
    "a time without a zone": json.dumps(
        {"number": 3, "time": "2026-01-02T03:04:05", "severity": "info", **dict.fromkeys(("kind", "text"), "x")}
        | dict.fromkeys(("namespace", "type", "id"), "x")
    ).encode(),
    "too deep": b"[" * 10_000,
    "too long": b'"' + b"x" * 50_000 + b'"',
    "half a line": b'{"number":3,"time":"2026-01',
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_damaged_lines_are_set_aside_and_the_others_kept(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "events"
    ring(path).append([event(1), event(2)])
    one, two, _ = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([one, damage, two, b""]))
    file = RingFile(path, 10)
    loaded = file.load()
    assert (loaded.events, loaded.damaged) == ([event(1), event(2)], 1)
    assert file.aside.read_bytes() == damage + b"\n"
    file.append([event(4)])
    assert path.read_bytes().split(b"\n")[:2] == [one, two]
    again = RingFile(path, 10).load()
    assert (again.events, again.damaged) == ([event(1), event(2), event(4)], 0)


def test_damaged_lines_that_cannot_be_set_aside_cost_no_others(tmp_path: Path) -> None:
    path = tmp_path / "events"
    ring(path).append([event(1), event(2)])
    path.write_bytes(b"junk\n" + path.read_bytes())
    file = RingFile(path, 10)
    file.aside.mkdir()
    loaded = file.load()
    assert (loaded.events, loaded.damaged) == ([event(1), event(2)], 1)
    assert "directory" in loaded.lost or "regular" in loaded.lost
    file.append([event(3)])
    assert RingFile(path, 10).load().events == [event(1), event(2), event(3)]


def test_a_last_line_that_was_cut_off_does_not_damage_the_next(tmp_path: Path) -> None:
    path = tmp_path / "events"
    ring(path).append([event(1), event(2)])
    path.write_bytes(path.read_bytes()[:-5])
    file = ring(path)
    file.append([event(3)])
    assert RingFile(path, 10).load().events == [event(1), event(3)]


def test_a_write_that_the_disk_cuts_short_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "events"
    file = ring(path)
    file.append([event(1)])
    before, write = path.read_bytes(), os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:7]))
        with pytest.raises(OSError, match="space"):
            file.append([event(2)])
    assert path.read_bytes() == before
    file.append([event(2)])
    assert RingFile(path, 10).load().events == [event(1), event(2)]


def test_a_file_that_was_removed_meanwhile_is_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "events"
    file = ring(path)
    file.append([event(1)])
    path.unlink()
    file.append([event(2)])
    assert RingFile(path, 10).load().events == [event(1), event(2)]


def test_a_planted_link_is_not_followed(tmp_path: Path) -> None:
    path = tmp_path / "events"
    file = ring(path)
    file.append([event(1)])
    target = tmp_path / "target"
    target.mkdir()
    path.unlink()
    path.symlink_to(target)
    with pytest.raises(OSError, match=r"regular|directory"):
        file.append([event(2)])
