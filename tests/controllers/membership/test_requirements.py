"""What keeps a machine from being part of a mesh is named at once."""

import errno
import os
import shutil
import socket
from pathlib import Path

import pytest

from nodespan.controllers.membership import requirements
from nodespan.controllers.membership.requirements import no_room, obstacles, obstacles_of_writing


@pytest.fixture(autouse=True)
def _everything_else_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """As root, with nft and WireGuard."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/sbin/{name}")
    monkeypatch.setattr(requirements, "_refusal", lambda *_: "")


def test_nothing_blocks_where_all_is_there(tmp_path: Path) -> None:
    assert obstacles(directories=[tmp_path / "new/er"]) == []
    assert (tmp_path / "new/er").stat().st_mode & 0o777 == 0o700


def test_a_missing_nft_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "nft" else f"/usr/sbin/{name}")
    assert obstacles(directories=[]) == [
        "nft is missing, by which packets find the tunnels: apt-get install --no-install-recommends nftables"
    ]


def test_a_kernel_without_nftables_or_wireguard_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements, "_refusal", lambda *_: "Operation not supported")
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "wireguard-go" else f"/usr/sbin/{name}")
    monkeypatch.setattr(Path, "exists", lambda _: False)
    nft, wireguard = obstacles(directories=[])
    assert nft == "this kernel has no nftables (Operation not supported): load the module nf_tables"
    assert "load the module wireguard, or apt-get install" in wireguard


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.EROFS, "takes no files: Read-only file system; mount it writable"),
        (errno.ENOSPC, "takes no files: No space left on device; make room on its disk"),
        (errno.EACCES, "takes no files: Permission denied; run it with sudo"),
    ],
)
def test_a_disk_that_takes_nothing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, advice: str
) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    assert advice in no_room(tmp_path)
    monkeypatch.undo()
    monkeypatch.setattr(os, "open", refuse)
    assert advice in no_room(tmp_path)


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL])
def test_a_file_system_without_files_that_have_no_name_is_good_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    opened = os.open

    def open_named(path: str, flags: int, *rest: int, **more: int) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(number, os.strerror(number))
        return opened(path, flags, *rest, **more)

    monkeypatch.setattr(os, "open", open_named)
    assert no_room(tmp_path) == ""
    assert list(tmp_path.iterdir()) == []


def test_nothing_was_changed_where_something_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "file").write_text("")
    directories = [tmp_path / "new/er", tmp_path / "new/est", tmp_path / "there", tmp_path / "file/below"]
    before = sorted(tmp_path.rglob("*"))
    assert len(obstacles_of_writing(directories)) == 1
    assert sorted(tmp_path.rglob("*")) == before
    monkeypatch.setattr(requirements, "_refusal", lambda *_: "no such kernel")
    assert obstacles(directories=directories[:3])
    assert sorted(tmp_path.rglob("*")) == before


def test_a_file_where_a_directory_should_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "nodespan").write_text("")
    assert "something else has its name" in no_room(tmp_path / "nodespan")


@pytest.mark.parametrize(("kind", "word"), [(socket.SOCK_STREAM, "tcp"), (socket.SOCK_DGRAM, "udp")])
def test_a_port_that_is_taken_is_named(kind: socket.SocketKind, word: str) -> None:
    with socket.socket(socket.AF_INET6 if socket.has_ipv6 else socket.AF_INET, kind) as taken:
        taken.bind(("", 0))
        if kind == socket.SOCK_STREAM:
            taken.listen()
        port = taken.getsockname()[1]
        (reason,) = obstacles(directories=[], **{word: [port]})
    assert reason.startswith(f"port {port} ({word.upper()}) is in use by another program")


def test_users_other_than_root_are_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert obstacles(directories=[]) == ["the network is changed as root only: run it with sudo"]
