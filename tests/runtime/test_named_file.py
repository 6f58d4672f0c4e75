"""Files that a user names: read to a bound, and what is none is refused before anything waits for it."""

import io
import os
import socket
import threading
import time
from pathlib import Path

import pytest

from nodespan.runtime import named_file
from nodespan.runtime.cli.errors import CommandError
from nodespan.runtime.cli.resources import write_files
from nodespan.runtime.named_file import NoFileError, TooLargeError, read_at_most, read_named
from tests.support.deadlines import PATIENCE


def made(kind: str, path: Path) -> Path:
    """What is no file, at this path."""
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(str(path))
    else:
        path.symlink_to("/dev/zero")
    return path


@pytest.mark.parametrize("kind", ["pipe", "socket", "device"])
def test_what_is_no_file_is_refused(tmp_path: Path, kind: str) -> None:
    path = made(kind, tmp_path / "x")
    with pytest.raises(NoFileError) as refused:
        read_named(path, 10)
    assert (refused.value.kind, refused.value.filename) == (f"a {kind}", str(path))
    assert refused.value.strerror == f"this is a {kind}, and must be a file"


@pytest.mark.parametrize("streams", [False, True])
def test_no_more_is_read_than_allowed(tmp_path: Path, streams: bool) -> None:
    path = tmp_path / "x"
    path.touch()
    os.truncate(path, 100_000)
    assert len(read_named(path, 100_000, streams=streams)) == 100_000
    os.truncate(path, 2**40)
    with pytest.raises(TooLargeError, match="more than 100,000 bytes") as refused:
        read_named(path, 100_000, streams=streams)
    assert refused.value.filename == str(path)


def test_who_takes_streams_reads_them_to_their_ends(tmp_path: Path) -> None:
    path = made("pipe", tmp_path / "x")
    writer = threading.Thread(target=path.write_text, args=("y" * 99_999,))
    writer.start()
    try:
        assert len(read_named(path, 100_000, streams=True)) == 99_999
    finally:
        writer.join()
    with pytest.raises(TooLargeError):
        read_named(Path("/dev/zero"), 100_000, streams=True)


def test_a_user_reads_that_a_pipe_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made("pipe", tmp_path / "x\n")
    said = io.StringIO()
    has_said = threading.Event()
    monkeypatch.setattr(said, "flush", has_said.set)
    monkeypatch.setattr("sys.stderr", said)
    monkeypatch.setattr(named_file, "_SILENCE", 0.01)

    def write() -> None:
        assert has_said.wait(PATIENCE)
        with path.open("w") as pipe:
            pipe.write("a")
            pipe.flush()
            # There is more to come than that: it is waited for, too.
            time.sleep(0.01)
            pipe.write("b")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert read_named(path, 100, streams=True) == b"ab"
    finally:
        writer.join()
    assert said.getvalue() == f"waiting for a program to write to {tmp_path}/x\\n, which is a pipe; Ctrl-C ends that\n"


def test_a_pipe_that_is_closed_without_a_word_is_empty(tmp_path: Path) -> None:
    path = made("pipe", tmp_path / "x")
    writer = threading.Thread(target=path.write_text, args=("",))
    writer.start()
    try:
        assert read_named(path, 100, streams=True) == b""
    finally:
        writer.join()


def test_errors_of_the_disk_name_the_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as missing:
        read_named(tmp_path / "x", 10)
    with pytest.raises(IsADirectoryError) as directory:
        read_named(tmp_path, 10)
    assert (missing.value.filename, directory.value.filename) == (str(tmp_path / "x"), str(tmp_path))


@pytest.mark.parametrize("name", ["/dev/zero", "-"])
def test_files_of_resources_are_bounded(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/zero") as endless:
        monkeypatch.setattr("sys.stdin", endless)
        with pytest.raises(CommandError, match=f"{name}: there are more than 8,388,608 bytes"):
            write_files(str(tmp_path / "none"), "create", [name])


def test_what_has_no_name_is_bounded_too() -> None:
    pieces = [b"abc", b"def", b""]
    assert read_at_most(lambda size: pieces.pop(0), 6) == b"abcdef"
    with pytest.raises(TooLargeError) as refused:
        read_at_most(lambda size: b"x" * size, 6)
    assert refused.value.filename is None
