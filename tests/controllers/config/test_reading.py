"""What files are read as a configuration: regular ones of a bounded size, and streams for commands only."""

import os
import threading
from pathlib import Path

import pytest

from nodespan.controllers.config.about import ABOUT
from nodespan.controllers.config.reading import LARGEST, UnreadableError, read_file, read_sources
from tests.runtime.test_named_file import made

TEXT = "machine: {}\n"


@pytest.mark.parametrize("kind", ["pipe", "socket", "device"])
def test_an_agent_does_not_wait_for_what_is_no_file(tmp_path: Path, kind: str) -> None:
    path = made(kind, tmp_path / "a.yaml")
    assert ABOUT.mounts([path], tmp_path) == ()
    for given in (path, tmp_path):
        sources, (problem,) = read_sources(given)
        assert sources == []
        assert problem.file == str(path)
        assert problem.message == f"this is a {kind}, from which no configuration can be read again"
        assert "write the configuration to a file" in problem.hint


def test_what_cannot_be_read_does_not_keep_other_files_from_being_read(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text(TEXT)
    made("pipe", tmp_path / "a.yaml")
    sources, problems = read_sources(tmp_path)
    assert [source.text for source in sources] == [TEXT]
    assert len(problems) == 1


def test_a_command_reads_a_pipe_to_its_end(tmp_path: Path) -> None:
    path = made("pipe", tmp_path / "pipe")
    writer = threading.Thread(target=path.write_text, args=(TEXT * 1000,))
    writer.start()
    try:
        sources, problems = read_sources(path, streams=True)
    finally:
        writer.join()
    assert ([source.text for source in sources], problems) == ([TEXT * 1000], [])


@pytest.mark.parametrize("streams", [False, True])
def test_no_more_is_read_than_a_configuration_may_have(tmp_path: Path, streams: bool) -> None:
    path = tmp_path / "a.yaml"
    path.touch()
    os.truncate(path, LARGEST)
    assert len(read_file(path, streams=streams)) == LARGEST
    os.truncate(path, 2**40)
    with pytest.raises(UnreadableError, match="too large"):
        read_file(path, streams=streams)
    assert [problem.file for problem in read_sources(path, streams=streams)[1]] == [str(path)]


def test_an_endless_device_ends_a_command_with_an_error() -> None:
    with pytest.raises(UnreadableError, match="too large"):
        read_file(Path("/dev/zero"), streams=True)


def test_the_bound_is_for_all_files_together(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_bytes(b"#" * (LARGEST // 2 + 1))
    sources, (problem,) = read_sources(tmp_path)
    assert [source.name for source in sources] == [str(tmp_path / "a.yaml")]
    assert (problem.file, "too large" in problem.message) == (str(tmp_path / "b.yaml"), True)


def test_a_directory_among_the_files_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").mkdir()
    _, (problem,) = read_sources(tmp_path)
    assert (problem.file, problem.message) == (
        str(tmp_path / "a.yaml"),
        "cannot read the configuration: Is a directory",
    )
