"""Files are changed, follow others, and are put back, also after a process was killed at any point."""

import errno
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodespan.controllers.host import managed_files
from nodespan.controllers.host.edits import Appended, Block, Edit, Whole
from nodespan.controllers.host.host import Host, HostError
from nodespan.controllers.host.managed_files import SETTLED, ManagedFiles
from nodespan.controllers.host.originals import DamagedRecordError
from nodespan.runtime import whole_file
from tests.controllers.host.machine import Machine, machine, unchanged

OWNER = "test.Controller"
FILE = "/etc/thing"
EDITS: list[Edit] = [Whole(b"ours\n"), Appended(b"ours\n"), Block(b"ours\n")]


def apply(files: ManagedFiles, edit: Edit, path: str = FILE, mode: int | None = None) -> bool:
    return files.apply(OWNER, path, path, edit, mode=mode)


def take_back(files: ManagedFiles, path: str = FILE) -> str:
    left = files.restore(OWNER, path)
    files.forget(OWNER, path)
    return left


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("base", ["theirs\n", "theirs", ""])
def test_a_file_is_written_once_and_restored(tmp_path: Path, edit: Edit, base: str) -> None:
    host = machine(tmp_path)
    host.write(FILE, base, mode=0o640)
    with unchanged(host):
        files = host.managed_files()
        assert apply(files, edit)
        files.settle(OWNER, FILE)
        written = host.read(FILE)
        assert written is not None
        assert "ours" in written
        assert host.path(FILE).stat().st_mode & 0o777 == 0o640
        inode = host.path(FILE).stat().st_ino
        assert not apply(files, edit)
        assert not apply(host.managed_files(), edit)
        assert host.managed_files().left_behind() == [f"{FILE} was not restored"]
        assert host.path(FILE).stat().st_ino == inode
        assert take_back(host.managed_files()) == ""
        assert host.managed_files().left_behind() == []


@pytest.mark.parametrize("edit", [Whole(b"ours\n"), Block(b"ours\n")])
def test_a_new_file_is_removed_with_the_directories_made_for_it(tmp_path: Path, edit: Edit) -> None:
    host = machine(tmp_path)
    path = "/etc/new/deep/thing"
    files = host.managed_files()
    old_mask = os.umask(0o077)
    try:
        apply(files, edit, path)
    finally:
        os.umask(old_mask)
    assert host.path(path).stat().st_mode & 0o777 == 0o644
    for directory in ("/etc", "/etc/new", "/etc/new/deep"):
        assert host.path(directory).stat().st_mode & 0o777 == 0o755
    take_back(host.managed_files(), path)
    assert not host.path("/etc").exists()


def test_directories_used_by_others_are_kept(tmp_path: Path) -> None:
    host = machine(tmp_path)
    files = host.managed_files()
    apply(files, Whole(b"ours"), "/etc/new/deep/thing")
    host.write("/etc/new/other", "theirs")
    take_back(files, "/etc/new/deep/thing")
    assert host.tree().keys() == {"etc/new/other"}
    assert not host.path("/etc/new/deep").exists()


def test_a_shared_directory_is_removed_with_its_last_file(tmp_path: Path) -> None:
    host = machine(tmp_path)
    host.write("/etc/theirs", "theirs")
    paths = ["/etc/new/one", "/etc/new/deep/two", "/etc/new/three"]
    for path in paths:
        apply(host.managed_files(), Whole(b"ours"), path)
    for path in paths:
        assert host.path("/etc/new").exists()
        take_back(host.managed_files(), path)
    assert not host.path("/etc/new").exists()
    assert host.path("/etc").exists()


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (Appended(b"ours"), "no such file to append to: write op: create"),
        (Whole(b"ours", must_exist=True), "no such file to overwrite: write op: create"),
    ],
)
def test_editing_a_missing_file_is_an_error(tmp_path: Path, edit: Edit, message: str) -> None:
    host = machine(tmp_path)
    with unchanged(host), pytest.raises(HostError, match=message):
        apply(host.managed_files(), edit)


@pytest.mark.parametrize("edit", EDITS)
def test_a_new_base_receives_our_edit_and_becomes_the_original(tmp_path: Path, edit: Edit) -> None:
    host = machine(tmp_path)
    host.write(FILE, "base 1\n")
    files = host.managed_files()
    apply(files, edit)
    host.write(FILE, "base 2\n", mode=0o600)
    assert apply(files, edit)
    written = host.read(FILE)
    assert written is not None
    assert written.count("ours") == 1
    assert ("base 2" in written) is not isinstance(edit, Whole)
    assert take_back(files) == ""
    assert host.tree() == {"etc/thing": ("base 2\n", 0o600)}


@pytest.mark.parametrize("edit", [Appended(b"ours\n"), Block(b"ours\n")])
def test_our_edit_is_recognised_in_a_base_edited_around_it(tmp_path: Path, edit: Edit) -> None:
    host = machine(tmp_path)
    host.write(FILE, "base\n")
    files = host.managed_files()
    apply(files, edit)
    written = host.read(FILE)
    assert written is not None
    host.write(FILE, f"more\n{written}")
    apply(files, edit)
    again = host.read(FILE)
    assert again is not None
    assert again.count("ours") == 1
    host.write(FILE, f"even {again}")
    assert take_back(host.managed_files()) == ""
    assert host.read(FILE) == "even more\nbase\n"


@pytest.mark.parametrize(
    ("edit", "left"), [(Block(b"ours\n"), "base\nmore\n"), (Appended(b"ours\n"), "base\nmore\n\nours\n")]
)
def test_an_edit_whose_record_is_lost_is_not_made_twice(tmp_path: Path, edit: Edit, left: str) -> None:
    host = machine(tmp_path)
    host.write(FILE, "base\nmore\n")
    for _ in range(3):
        apply(host.managed_files(), edit)
        host.write(FILE, host.read(FILE) or "")
        shutil.rmtree(host.state_dir / "originals")
    files = host.managed_files()
    apply(files, edit)
    written = host.read(FILE)
    assert written is not None
    assert written.count("ours") == 1
    assert take_back(files) == ""
    # A block has marks; an appended text could be anybody's.
    assert host.read(FILE) == left


def test_all_blocks_of_agents_before_us_go() -> None:
    once = Block(b"a\n").apply(b"base\n")
    twice = Block(b"b\n").apply(once) + b"more\n# BEGIN nodespan: changes to these lines are overwritten\n"
    assert Block(b"c\n").foreign(twice) == b"base\nmore\n# BEGIN nodespan: changes to these lines are overwritten\n"


def test_foreign_changes_to_an_overwritten_file_are_kept_and_reported(tmp_path: Path) -> None:
    host = machine(tmp_path)
    host.write(FILE, "base\n")
    files = host.managed_files()
    apply(files, Whole(b"ours"))
    host.write(FILE, "theirs\n")
    assert take_back(host.managed_files()) == "/etc/thing was changed by another program, and is left as it is"
    assert host.read(FILE) == "theirs\n"
    assert host.kept() == []


def test_a_file_removed_by_hand_is_restored_only_while_desired(tmp_path: Path) -> None:
    host = machine(tmp_path)
    host.write(FILE, "base\n")
    files = host.managed_files()
    apply(files, Whole(b"ours"))
    host.path(FILE).unlink()
    assert "removed by another program" in files.restore(OWNER, FILE)
    apply(files, Whole(b"ours"))
    assert host.read(FILE) == "ours"
    assert take_back(files) == ""
    assert host.read(FILE) is None


def test_another_edit_of_one_file_keeps_the_first_original(tmp_path: Path) -> None:
    host = machine(tmp_path)
    host.write(FILE, "base\n", mode=0o600)
    with unchanged(host):
        apply(host.managed_files(), Appended(b"one\n"), mode=0o644)
        apply(host.managed_files(), Appended(b"two\n"), mode=0o640)
        assert host.tree() == {"etc/thing": ("base\n\ntwo\n", 0o640)}
        apply(host.managed_files(), Whole(b"three\n"))
        take_back(host.managed_files())


def test_a_file_belongs_to_its_first_owner(tmp_path: Path) -> None:
    host = machine(tmp_path)
    host.write("/etc/real", "base\n")
    host.path("/etc/thing").symlink_to("real")
    files = host.managed_files()
    apply(files, Appended(b"ours"))
    with pytest.raises(HostError, match=r"/etc/real is written by test\.Controller for '/etc/thing' already"):
        files.apply("other.Controller", "x", "/etc/real", Whole(b"x"))


def test_a_conflict_over_a_file_is_damped_and_reported(tmp_path: Path) -> None:
    host = machine(tmp_path)
    now = 0.0
    files = ManagedFiles(host.host, host.state_dir / "originals", clock=lambda: now)
    apply(files, Whole(b"ours"))
    with pytest.raises(HostError, match="keeps being changed by another program"):  # noqa: PT012
        for number in range(20):
            now += 0.1
            host.write(FILE, f"theirs {number}")
            apply(files, Whole(b"ours"))
    now += 3600
    assert apply(files, Whole(b"ours"))


@pytest.mark.parametrize("kind", ["directory", "fifo", "device"])
def test_only_regular_files_are_written(tmp_path: Path, kind: str) -> None:
    host = machine(tmp_path)
    host.path("/etc").mkdir()
    if kind == "directory":
        host.path(FILE).mkdir()
    elif kind == "fifo":
        os.mkfifo(host.path(FILE))
    else:
        host.path(FILE).symlink_to("/dev/null")
        host.path("/dev").mkdir()
        os.mkfifo(host.path("/dev/null"))
    shown = "/dev/null" if kind not in ("directory", "fifo") else FILE
    with pytest.raises(HostError, match=rf"^{shown} is not a regular file: .* move it away$"):
        apply(host.managed_files(), Whole(b"ours"))
    assert host.kept() == []


def test_symbolic_links_are_resolved_below_the_root(tmp_path: Path) -> None:
    host = machine(tmp_path)
    host.write("/usr/lib/real", "base")
    host.path("/etc").mkdir()
    host.path("/etc/alternatives").symlink_to("/usr/lib")
    host.path(FILE).symlink_to("../../../etc/alternatives/real")
    files = host.managed_files()
    apply(files, Whole(b"ours"))
    assert host.read("/usr/lib/real") == "ours"
    assert host.path(FILE).is_symlink()
    host.path("/etc/round").symlink_to("round")
    with pytest.raises(HostError, match="too many symbolic links"):
        apply(files, Whole(b"ours"), "/etc/round")
    with pytest.raises(HostError, match="not an absolute path"):
        apply(files, Whole(b"ours"), "etc/thing")


def test_a_host_we_do_not_manage_is_left_alone(tmp_path: Path) -> None:
    files = ManagedFiles(Host(root=tmp_path, refusal="not ours"), tmp_path / "state")
    with pytest.raises(HostError, match="not ours"):
        apply(files, Whole(b"ours"))
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_record_is_reported(tmp_path: Path) -> None:
    host = machine(tmp_path)
    apply(host.managed_files(), Whole(b"ours"))
    (record,) = (host.state_dir / "originals").iterdir()
    record.write_text(record.read_text()[:-20])
    files = host.managed_files()
    with pytest.raises(DamagedRecordError, match="damaged"):
        apply(files, Whole(b"ours"))
    assert "repair the file by hand" in files.damages()[0]
    apply(files, Whole(b"ours"), "/etc/other")


def test_saved_originals_are_readable_by_the_owner_only(tmp_path: Path) -> None:
    host = machine(tmp_path)
    host.write(FILE, "secret", mode=0o600)
    apply(host.managed_files(), Whole(b"ours"))
    (record,) = (host.state_dir / "originals").iterdir()
    assert record.stat().st_mode & 0o777 == 0o600
    assert record.parent.stat().st_mode & 0o777 == 0o700


@given(
    st.lists(st.sampled_from(["one", "two", "append", "block", "kill"]), max_size=6), st.sampled_from(["base\n", "b"])
)
def test_any_sequence_of_edits_ends_with_the_original_restored(steps: list[str], base: str) -> None:
    edits: dict[str, Edit] = {
        "one": Whole(b"1"),
        "two": Whole(b"2\n"),
        "append": Appended(b"3\n"),
        "block": Block(b"4\n"),
    }
    with tempfile.TemporaryDirectory() as directory:
        host = machine(Path(directory))
        host.write(FILE, base)
        with unchanged(host):
            files = host.managed_files()
            for step in steps:
                if step == "kill":
                    files = host.managed_files()
                else:
                    apply(files, edits[step])
            assert take_back(files) == ""


@attrs.define
class InPlace:
    """A program that empties a file and fills it, step by step: one at each wait of ours."""

    path: Path
    steps: list[str]
    waits: int = 0

    def start(self) -> None:
        self.stream = self.path.open("w")

    def wait(self, seconds: float) -> None:
        self.waits += 1
        if self.steps:
            self.stream.write(self.steps.pop(0))
            self.stream.flush()
        elif not self.stream.closed:
            self.stream.close()
        else:
            past = time.time() - 10 * SETTLED
            os.utime(self.path, (past, past))

    stream: IO[str] = attrs.field(init=False)


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("has_record", [False, True])
def test_what_another_program_is_writing_in_place_becomes_the_base_once_it_is_complete(
    tmp_path: Path, edit: Edit, has_record: bool
) -> None:
    host = machine(tmp_path)
    host.write(FILE, "base 1\n")
    program = InPlace(host.path(FILE), ["base ", "2\n"])
    files = ManagedFiles(host.host, host.state_dir / "originals", sleep=program.wait)
    if has_record:
        apply(files, edit)
    program.start()
    assert apply(files, edit)
    assert program.waits == 4
    assert "ours" in (host.read(FILE) or "")
    assert take_back(files) == ""
    assert host.read(FILE) == "base 2\n"


def test_a_file_that_is_open_for_writing_is_left_alone_however_old_it_is(tmp_path: Path) -> None:
    host = machine(tmp_path)
    host.write(FILE, "base\n")
    waits: list[float] = []
    files = ManagedFiles(host.host, host.state_dir / "originals", sleep=waits.append)
    with host.path(FILE).open("a"), pytest.raises(HostError, match="/etc/thing is being written by another program"):
        apply(files, Block(b"ours\n"))
    assert sum(waits) == pytest.approx(3)
    assert host.tree() == {"etc/thing": ("base\n", 0o644)}
    assert apply(files, Block(b"ours\n"))


@pytest.mark.parametrize("undone", [False, True])
def test_a_file_that_changes_after_it_was_read_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undone: bool
) -> None:
    host = machine(tmp_path)
    host.write(FILE, "base 1\n")
    files = ManagedFiles(host.host, host.state_dir / "originals", sleep=lambda _: host.write(FILE, "base 2\n"))
    if undone:
        apply(files, Block(b"ours\n"))
    real, fill = whole_file._fill, iter([True])

    def meanwhile(descriptor: int, content: str | bytes) -> int:
        if isinstance(content, bytes) and next(fill, False):
            host.path(FILE).write_text("")
        return real(descriptor, content)

    monkeypatch.setattr(whole_file, "_fill", meanwhile)
    if undone:
        assert "left as it is" in take_back(files)
        assert host.read(FILE) == "base 2\n"
    else:
        apply(files, Block(b"ours\n"))
        assert take_back(files) == ""
        assert host.read(FILE) == "base 2\n"


class Killed(BaseException):
    """The process ends here."""


def killed_at(number: int) -> Callable[[], None]:
    """End at this many calls of what changes something on the disk; returns what takes that back."""
    count = 0
    patch = pytest.MonkeyPatch()

    def wrap(name: str) -> None:
        real = getattr(os, name)

        def call(*arguments: object, **named: object) -> object:
            nonlocal count
            count += 1
            if count == number:
                raise Killed
            return real(*arguments, **named)

        patch.setattr(os, name, call)

    for name in ("replace", "fsync", "unlink", "open", "fchmod"):
        wrap(name)
    return patch.undo


@pytest.mark.parametrize("edit", EDITS)
def test_the_process_after_a_kill_at_any_point_converges(tmp_path: Path, edit: Edit) -> None:
    wanted = None
    for number in range(1, 60):
        directory = tmp_path / str(number)
        directory.mkdir()
        host = machine(directory)
        host.write(FILE, "base\n")
        with unchanged(host):
            undo = killed_at(number)
            finished = False
            try:
                files = host.managed_files()
                apply(files, Appended(b"before\n"))
                apply(files, edit)
                files.settle(OWNER, FILE)
                take_back(files)
                finished = True
            except Killed:
                pass
            finally:
                undo()
            files = host.managed_files()
            apply(files, edit)
            wanted = wanted or host.read(FILE)
            assert host.read(FILE) == wanted
            assert take_back(files) == ""
            assert _leftovers(host) == []
        if finished:
            return
    pytest.fail("there are more points than were tried")


def _leftovers(host: Machine) -> list[str]:
    return [name for name in host.tree() if ".nodespan-" in name]


@pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO])
def test_the_new_place_of_a_path_does_not_wait_for_one_that_may_not_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    on = machine(tmp_path)
    on.write("/run/thing", "before\n")
    on.path("/etc").mkdir(exist_ok=True)
    on.path(FILE).symlink_to("../run/thing")
    files = on.managed_files()
    apply(files, EDITS[0])
    on.path(FILE).unlink()
    on.write(FILE, "theirs\n")
    put_back = managed_files._put_back

    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code), "/run/thing")

    monkeypatch.setattr(managed_files, "_put_back", refuse)
    if code == errno.EIO:
        with pytest.raises(OSError, match=os.strerror(code)):
            apply(files, EDITS[0])
        return
    assert apply(files, EDITS[0])
    assert (on.read(FILE), on.read("/run/thing"), len(on.kept())) == ("ours\n", "ours\n", 2)
    assert not files.are_as_applied(OWNER, str)
    files.settle(OWNER, FILE)
    assert not apply(files, EDITS[0])
    # It may be written again.
    monkeypatch.setattr(managed_files, "_put_back", put_back)
    assert not apply(files, EDITS[0])
    assert (on.read(FILE), on.read("/run/thing"), len(on.kept())) == ("ours\n", "before\n", 1)
    assert files.are_as_applied(OWNER, str)
    assert take_back(files) == ""
    assert on.read(FILE) == "theirs\n"


def test_what_another_program_made_of_a_former_place_is_left_and_told_once(tmp_path: Path) -> None:
    on = machine(tmp_path)
    on.write(FILE, "before\n")
    on.write("/run/thing", "theirs\n")
    files = on.managed_files()
    apply(files, EDITS[0])
    on.path(FILE).unlink()
    on.path(FILE).symlink_to("../run/thing")
    assert apply(files, EDITS[0])
    assert on.read("/run/thing") == "ours\n"
    told = files.take_left(OWNER)
    assert len(told) == 1
    assert "is not a regular file any more: another program has replaced it" in told[0]
    assert files.take_left(OWNER) == []
    assert take_back(files) == ""
    assert (on.read("/run/thing"), on.kept()) == ("theirs\n", [])
