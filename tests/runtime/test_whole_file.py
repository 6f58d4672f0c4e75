"""Files are replaced as a whole, and root is not led to other files."""

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from nodespan.runtime.whole_file import check_target, create_file, follow_links, put_file, replace_file


def test_a_new_file_is_private_and_an_existing_one_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    assert replace_file(path, "a") == 1
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)
    replace_file(path, (b"b", b"c"))
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("bc", 0o640)
    replace_file(path, b"d", mode=0o600)
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_content_that_cannot_be_written_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("a")
    with pytest.raises(UnicodeEncodeError):
        replace_file(path, "b\udcff")
    assert path.read_text() == "a"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", ["device", "fifo", "socket", "directory"])
def test_only_regular_files_are_replaced(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "target"
    if kind == "device":
        path = Path("/dev/null")
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
    else:
        path.mkdir()
    before = stat.S_IFMT(path.lstat().st_mode)
    for write in (replace_file, put_file):
        with pytest.raises(OSError, match="not a regular file"):
            write(path, b"x")
    with pytest.raises(OSError, match="not a regular file"):
        check_target(path)
    with pytest.raises(FileExistsError):
        create_file(path, b"x")
    assert stat.S_IFMT(path.lstat().st_mode) == before


def test_a_device_behind_a_link_is_not_replaced(tmp_path: Path) -> None:
    link = tmp_path / "state"
    link.symlink_to("/dev/null")
    with pytest.raises(OSError, match="not a regular file"):
        replace_file(link, b"x")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    assert link.is_symlink()


def test_a_link_in_a_directory_of_ours_stays_and_its_target_is_replaced(tmp_path: Path) -> None:
    target, link = tmp_path / "deep" / "real.yaml", tmp_path / "link.yaml"
    target.parent.mkdir()
    target.write_text("a")
    link.symlink_to("deep/../deep/real.yaml")
    replace_file(link, "b")
    assert link.is_symlink()
    assert target.read_text() == "b"
    assert follow_links(link) == target.resolve()


def test_a_link_where_others_may_make_one_is_refused(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (shared / "state").symlink_to(victim)
    (shared / "way").symlink_to(tmp_path)
    for path in (shared / "state", shared / "way" / "victim"):
        with pytest.raises(OSError, match="others may make one"):
            replace_file(path, b"x")
    assert victim.read_text() == "precious"
    replace_file(shared / "own", b"x")
    assert (shared / "own").read_bytes() == b"x"


def test_links_in_a_circle_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        follow_links(tmp_path / "a")


def test_links_planted_for_the_temporary_file_are_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    for planted in ("state.tmp", ".state.nodespan", ".state.tmp", ".state"):
        (tmp_path / planted).symlink_to(victim)
    replace_file(tmp_path / "state", b"x")
    assert victim.read_text() == "precious"
    assert (tmp_path / "state").read_bytes() == b"x"


def test_the_temporary_file_of_a_killed_process_is_removed_by_the_next_writer(tmp_path: Path) -> None:
    path = tmp_path / "state"
    script = (
        "import os, signal, sys; from pathlib import Path; from nodespan.runtime.whole_file import put_file\n"
        "put_file(Path(sys.argv[1]), b'x', prepare=lambda _: os.kill(os.getpid(), signal.SIGKILL))"
    )
    subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    (leftover,) = tmp_path.iterdir()
    assert leftover != path
    replace_file(path, b"y")
    assert list(tmp_path.iterdir()) == [path]


def test_the_temporary_file_of_a_running_writer_stays(tmp_path: Path) -> None:
    path = tmp_path / "state"
    put_file(path, b"outer", prepare=lambda _: (put_file(path, b"inner"), None)[1])
    assert path.read_bytes() == b"outer"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_is_created_never_overwrites_one(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    create_file(path, "a")
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        create_file(path, "b")
    assert path.read_text() == "a"
    assert list(tmp_path.iterdir()) == [path]
