"""A table that is kept by a process of nft: here a program that reads and never answers."""

import errno
import os
import subprocess

import pytest

from nodespan.kernel.packet_filter.owned_table import OwnedTable


def test_a_command_for_a_table_that_was_closed_is_a_broken_pipe() -> None:
    table = OwnedTable(subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE))
    table.close()
    assert not table.is_open
    with pytest.raises(BrokenPipeError):
        table.apply("flush ruleset")
    table.close()


def test_a_process_that_cannot_be_watched_is_ended_with_its_pipes(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_pid: int) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(os, "pidfd_open", refuse)
    process = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with pytest.raises(OSError, match="Too many open files"):
        OwnedTable(process)
    assert process.returncode is not None
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdin.closed
    assert process.stdout.closed
