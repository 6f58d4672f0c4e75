"""The lock of a file: one holder at a time, and who it is."""

import fcntl
import os
from pathlib import Path

import pytest

from nodespan.runtime.lock_file import LockedError, locked


def test_one_at_a_time_and_the_holder_is_named(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with locked(path):
        with pytest.raises(LockedError, match=rf"pid {os.getpid()}\)") as refused, locked(path):
            pass
        assert refused.value.holder == str(os.getpid())
    with locked(path):
        pass


@pytest.mark.parametrize("ends", [True, False], ids=["ends", "begins"])
def test_one_who_comes_while_the_holder_has_no_name_looks_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: bool
) -> None:
    path = tmp_path / "lock"
    other = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(other, fcntl.LOCK_EX)
    turns = iter(range(100))

    def go_on() -> None:
        if next(turns) < 3:
            return
        if ends:
            fcntl.flock(other, fcntl.LOCK_UN)
        else:
            os.pwrite(other, b"4711\n", 0)

    monkeypatch.setattr(os, "sched_yield", go_on)
    try:
        if ends:
            with locked(path):
                pass
        else:
            with pytest.raises(LockedError, match=r"pid 4711\)"), locked(path):
                pass
    finally:
        os.close(other)
    assert next(turns) == 4


def test_a_holder_that_never_says_who_it_is_is_unknown(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    other = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(other, fcntl.LOCK_EX)
    with pytest.raises(LockedError, match=r"pid unknown\)"), locked(path):
        pass
    os.close(other)
