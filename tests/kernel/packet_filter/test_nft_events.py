"""Notifications of the packet filter are put together to transactions."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from nodespan.kernel.packet_filter.nft_events import Commit, CommitReader
from nodespan.kernel.rtnetlink import zero_terminated

NEW_TABLE, DELETE_TABLE, NEW_RULE, NEW_GENERATION = 0, 2, 6, 15


def message(kind: int, *attributes: bytes, subsystem: int = 10) -> bytes:
    body = bytes(4) + b"".join(attributes)
    return struct.pack("=IHHII", 16 + len(body), subsystem << 8 | kind, 0, 0, 0) + body


def table(name: str) -> bytes:
    return zero_terminated(1, name)


def generation(pid: int, program: str) -> bytes:
    number = struct.pack("=HH", 8, 1) + struct.pack("!I", 7)
    return message(
        NEW_GENERATION, number, struct.pack("=HH", 8, 2) + struct.pack("!I", pid), zero_terminated(3, program)
    )


def test_a_transaction_names_its_tables_and_its_process() -> None:
    data = message(DELETE_TABLE, table("old")) + message(NEW_RULE, table("filter")) + generation(4711, "nft")
    assert list(CommitReader().feed(data)) == [
        Commit(touched=frozenset({"old", "filter"}), removed=frozenset({"old"}), pid=4711, program="nft")
    ]


def test_a_transaction_may_span_datagrams_and_the_next_starts_empty() -> None:
    reader = CommitReader()
    assert list(reader.feed(message(NEW_TABLE, table("a")))) == []
    first, second = reader.feed(generation(1, "nft") + message(NEW_TABLE, table("b")) + generation(2, "firewalld"))
    assert (first.touched, second.touched) == (frozenset({"a"}), frozenset({"b"}))
    assert (first.program, second.program) == ("nft", "firewalld")


def test_messages_of_other_subsystems_are_ignored() -> None:
    data = message(DELETE_TABLE, table("a"), subsystem=1) + generation(1, "nft")
    (commit,) = CommitReader().feed(data)
    assert commit.removed == frozenset()


@given(st.binary(max_size=200))
def test_damaged_datagrams_are_skipped(data: bytes) -> None:
    for commit in CommitReader().feed(data):
        assert isinstance(commit, Commit)
