"""A table that is kept by a process of nft: here a program that reads and never answers."""

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
