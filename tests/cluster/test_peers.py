"""What is told of the peers of a cluster."""

import pytest

from nodespan.cluster.peers import NO_AGENT, MeshView, PeerView, changes, table

AB, BA = ("a", "b"), ("b", "a")
TRIED = PeerView(state="unknown", endpoint="198.51.100.12:51820")
UP = PeerView(state="up", endpoint="198.51.100.12:51820")
SILENT = PeerView(state=NO_AGENT)
UNFOUND = PeerView()


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ({}, {AB: SILENT}, []),
        ({}, {AB: UNFOUND}, []),
        ({AB: UNFOUND}, {AB: TRIED}, ["a: b is unknown at 198.51.100.12:51820"]),
        ({AB: TRIED}, {AB: UP}, ["a: b is up at 198.51.100.12:51820"]),
        ({AB: UP}, {AB: UP}, []),
        ({AB: UP, ("a", "c"): UP}, {AB: SILENT, ("a", "c"): SILENT}, ["a: its agent does not answer"]),
        ({AB: UP}, {AB: UNFOUND}, ["a: b is not found yet"]),
        ({AB: SILENT, BA: UP}, {AB: UP, BA: UP}, ["a: b is up at 198.51.100.12:51820"]),
    ],
)
def test_only_changes_are_reported(before: MeshView, after: MeshView, told: list[str]) -> None:
    assert list(changes(before, after)) == told


def test_the_table_has_a_line_for_each_pair() -> None:
    assert table({AB: UP, BA: UNFOUND}) == [
        "NODE   PEER   STATE           ENDPOINT",
        "a      b      up              198.51.100.12:51820",
        "b      a      not found yet",
    ]
