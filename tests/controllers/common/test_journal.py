"""What a journal holds survives the end of the process at any byte, and nothing else is believed."""

import json
import stat
from pathlib import Path

import attrs
import pytest

from nodespan.controllers.common import boot_clock
from nodespan.controllers.common.journal import Journal, read_journal
from nodespan.controllers.network.apply.link_originals import LinkOriginals, Original, Originals
from nodespan.kernel.netns import namespace_id


@attrs.frozen
class Boot:
    boot: str = "this one"

    def now(self) -> float:
        return 0.0


def journal(path: Path, boot: str = "this one") -> Journal:
    return Journal(path, Boot(boot))


def test_each_change_is_on_disk_and_readable_by_this_user_only(tmp_path: Path) -> None:
    path = tmp_path / "before.jsonl"
    first = journal(path)
    first.change({"a": 1, "b": [2]})
    first.change({"a": None, "c": {"x": "y"}})
    assert journal(path).all() == first.all() == {"b": [2], "c": {"x": "y"}}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_cut_off_at_any_byte_it_holds_the_changes_that_were_complete(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    written = journal(whole)
    states = [dict[str, object]()]
    for number in range(3):
        written.change({f"slot/{number}": {"saved": "é" * number}})
        states.append(written.all())
    content = whole.read_bytes()
    first_change = content.index(b"\n") + 1
    path = tmp_path / "cut"
    for length in range(first_change, len(content) + 1):
        path.write_bytes(content[:length])
        found = journal(path)
        complete = content[:length].count(b"\n") - 1
        assert found.all() == states[complete]
        found.change({"later": True})
        assert journal(path).all() == {**states[complete], "later": True}


def test_a_reboot_ends_what_was_recorded(tmp_path: Path) -> None:
    path = tmp_path / "before.jsonl"
    journal(path).change({"a": 1})
    later = journal(path, "another one")
    assert later.all() == {}
    later.change({"b": 2})
    assert journal(path, "another one").all() == {"b": 2}


def test_another_network_namespace_of_the_same_boot_ends_what_was_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, links = tmp_path / "before.jsonl", tmp_path / "links.json"
    original = Originals(7, {"mtu": Original(1500, 1400)})
    Journal(path).change({"address/2/10.0.0.1/24": {"saved": [], "changed": False}})
    LinkOriginals(links).set("eth0", original)
    for namespace, is_known in ((namespace_id(), True), ("netns 12345", False)):
        # A container that is started again: the numbers of its links are the same, and what they stand for is new.
        monkeypatch.setattr(boot_clock, "namespace_id", lambda namespace=namespace: namespace)
        assert bool(Journal(path).all()) is bool(read_journal(path)) is is_known
        known = LinkOriginals(links)
        known.load()
        assert (known.get("eth0") == original) is is_known


@pytest.mark.parametrize("content", [b"nonsense\n", b"[]\n", b'{"a":1}\n', b'{"boot":"this one"}\n{"a":\n{"b":1}\n'])
def test_a_damaged_file_is_put_aside_and_reported(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "before.jsonl"
    path.write_bytes(content)
    found = journal(path)
    assert "put aside as before.damaged" in found.load()
    assert found.all() == {}
    assert (tmp_path / "before.damaged").read_bytes() == content
    found.change({"a": 1})
    assert journal(path).all() == {"a": 1}


def test_what_is_superseded_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "before.jsonl"
    written = journal(path)
    for number in range(1000):
        written.change({"a": number})
    assert len(path.read_bytes().splitlines()) < 300
    assert journal(path).all() == {"a": 999}


def test_a_change_that_cannot_be_written_is_not_made(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "before.jsonl"
    written = journal(path)
    with pytest.raises(FileNotFoundError):
        written.change({"a": 1})
    assert written.all() == {}
    path.parent.mkdir()
    written.change({"a": 2})
    assert [json.loads(line) for line in path.read_bytes().splitlines()] == [{"boot": "this one"}, {"a": 2}]


def test_names_are_found_by_what_they_begin_with(tmp_path: Path) -> None:
    path = tmp_path / "before.jsonl"
    written = journal(path)
    written.change({"lost/2": 1, "lost/3": 1, "losses/2": 1, "lost": 1})
    written.change({"lost/2": None})
    for found in (written, journal(path)):
        assert found.names("lost") == {"lost/3", "lost"}
        assert found.names("nothing") == frozenset()
