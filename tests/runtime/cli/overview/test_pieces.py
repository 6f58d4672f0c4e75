"""Files of an archive on their way: they arrive as they were sent, and a node cannot send what it likes."""

import io
import json
import tarfile
from typing import Any

import pytest

from nodespan.runtime.cli.overview import pieces as module
from nodespan.runtime.cli.overview.pieces import FilesOfNode, pieces
from nodespan.runtime.cli.overview.support import archive_end, packed
from nodespan.runtime.overview.support import SupportFile


@pytest.mark.parametrize("size", [1, 3, 7, 100])
def test_files_arrive_as_they_were_sent(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PIECE", size)
    files = [
        SupportFile("empty.txt", ""),
        SupportFile("a/b.yaml", "seven: 7"),
        SupportFile("a/b.yaml", "of the same name"),
        SupportFile("...", "ä\n\udc80\x00" * 5),
        SupportFile("last", "x" * 7),
    ]
    taken = FilesOfNode()
    for piece in pieces(files):
        assert len(piece["text"]) <= size
        taken.take(json.loads(json.dumps(piece)))
    assert taken.files == files


@pytest.mark.parametrize(
    "piece",
    [
        {},
        {"text": "a"},
        {"name": "a"},
        {"name": "a", "text": 1},
        {"name": 1, "text": ""},
        {"name": "", "text": ""},
        {"name": "../a", "text": ""},
        {"name": "a/../../b", "text": ""},
        {"name": "/etc/passwd", "text": ""},
        {"name": "a//b", "text": ""},
        {"name": "a/", "text": ""},
        {"name": ".", "text": ""},
        {"name": "a" * 301, "text": ""},
    ],
)
def test_what_is_no_piece_or_leads_elsewhere_is_refused(piece: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        FilesOfNode().take(piece)


def test_characters_that_a_terminal_acts_on_are_no_part_of_a_name() -> None:
    taken = FilesOfNode()
    taken.take({"name": "a\x1b[2J\n/b\\c", "text": ""})
    assert [file.name for file in taken.files] == ["a_[2J_/b_c"]


def test_a_node_that_sends_without_end_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_FILES", 3)
    monkeypatch.setattr(module, "_MOST_BYTES", 10)
    for endless in ({"name": "a", "text": ""}, {"name": "a", "text": "12345"}):
        with pytest.raises(ValueError, match="run nodespan support on the node itself"):
            take_all([endless] * 5)


def take_all(given: list[dict[str, Any]]) -> None:
    taken = FilesOfNode()
    for piece in given:
        taken.take(piece)


def test_a_file_counts_by_the_memory_that_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_BYTES", 40)
    take_all([{"name": "a", "text": "x" * 40}])
    take_all([{"name": "a", "text": "x" * 9 + "\U0001f600"}])
    # One such character makes all of the file as wide, also what came before it; not another file.
    take_all([{"name": "a", "text": "x" * 20}, {"name": "b", "text": "\U0001f600" * 5}])
    for file in (["x" * 10 + "\U0001f600"], ["x" * 10, "\U0001f600"], ["\U0001f600", "x" * 10]):
        with pytest.raises(ValueError, match="run nodespan support on the node itself"):
            take_all([{"name": "a", "text": ""}, *({"text": text} for text in file)])


def test_parts_that_were_packed_one_by_one_are_one_archive() -> None:
    long = "x" * 600
    parts = [
        packed("all/one", [SupportFile("a.txt", "ä"), SupportFile("b/c.txt", long)], 7.0),
        packed("all/two", [SupportFile("a" * 150, "\udc80")], 7.0),
    ]
    with tarfile.open(fileobj=io.BytesIO(b"".join(parts) + archive_end(7.0))) as tar:
        found = {entry.name: (entry.mode, entry.mtime, tar.extractfile(entry)) for entry in tar}
        texts = {name: (mode, when, file.read()) for name, (mode, when, file) in found.items() if file is not None}
    assert texts == {
        "all/one/a.txt": (0o600, 7, "ä".encode()),
        "all/one/b/c.txt": (0o600, 7, long.encode()),
        f"all/two/{'a' * 150}": (0o600, 7, b"\\udc80"),
    }
