"""The example of a controller that applies files with the generic reconciler does what it says."""

from pathlib import Path

import pytest

from examples.managed_files import FileChange, Files, ManagedFile, ManagedFilesController, ManagedFileSpec, plan
from nodespan.runtime.controller import Decision
from nodespan.runtime.engine import ControllerStatus
from nodespan.runtime.testing.kit import running
from tests.support.process import eventually

NAME = "example.ManagedFilesController"


@pytest.mark.parametrize(
    ("desired", "observed", "difference"),
    [
        ("a", None, FileChange("a")),
        ("a", "b", FileChange("a")),
        ("a", "a", None),
        (None, "a", FileChange(None)),
        (None, None, None),
        ("\0", None, Decision(refused="a file cannot contain NUL")),
    ],
)
def test_the_difference_between_desired_and_observed(
    desired: str | None, observed: str | None, difference: object
) -> None:
    assert plan(None if desired is None else ManagedFileSpec(content=desired), observed) == difference


def test_an_id_never_leads_out_of_the_directory(tmp_path: Path) -> None:
    files = Files(tmp_path / "managed")
    files.apply("../outside", FileChange("x"))
    assert [path.name for path in tmp_path.iterdir()] == ["managed"]
    assert files.observe(["../outside"]) == {"../outside": "x"}


async def test_files_are_written_changed_and_removed(tmp_path: Path) -> None:
    (tmp_path / "left").write_text("by an earlier process")
    async with running(ManagedFilesController(tmp_path)) as node:
        await node.put(ManagedFile, "motd", ManagedFileSpec(content="hello"))
        await node.settled()
        assert (tmp_path / "motd").read_text() == "hello"
        await node.put(ManagedFile, "motd", ManagedFileSpec(content="good evening"))
        await node.settled()
        assert (tmp_path / "motd").read_text() == "good evening"
        await eventually(lambda: not (tmp_path / "left").exists())
        await node.teardown(ManagedFile, "motd")
        await node.eventually(ManagedFile, "motd", where=lambda file: file.metadata.is_destroy_ready)
        assert not (tmp_path / "motd").exists()


async def test_a_file_that_cannot_be_written_is_shown_and_the_others_apply(tmp_path: Path) -> None:
    (tmp_path / "blocked").mkdir()
    async with running(ManagedFilesController(tmp_path)) as node:
        await node.put(ManagedFile, "blocked", ManagedFileSpec(content="x"))
        await node.put(ManagedFile, "free", ManagedFileSpec(content="y"))
        status = await node.eventually(ControllerStatus, NAME, where=lambda status: status.spec.failing == 1)
        assert "blocked" in status.spec.notice
        assert (tmp_path / "free").read_text() == "y"
        (tmp_path / "blocked").rmdir()
        await eventually(lambda: (tmp_path / "blocked").is_file())
        await node.eventually(ControllerStatus, NAME, where=lambda status: not status.spec.failing)
