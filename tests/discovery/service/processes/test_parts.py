"""Snapshots of several processes: nothing is lost when their number changes, and nothing comes back."""

import os
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest
import structlog

from nodespan.discovery.service.affiliate import AffiliateSpec
from nodespan.discovery.service.processes.parts import arrange, arranged, part_of
from nodespan.discovery.service.processes.team import Team, owner_of
from nodespan.discovery.service.snapshot_file import encode_cluster, read_records, write
from tests.support.deadlines import PATIENCE

LOG = structlog.get_logger()


def _record(cluster: str, *ids: str) -> bytes:
    affiliates = [AffiliateSpec(cluster=cluster, affiliate=id, data=b"d", expiry=10**9) for id in ids]
    return encode_cluster(cluster, affiliates, 0)


def _clusters(path: Path) -> dict[str, list[str]]:
    with path.open("rb") as file:
        return {record.id: [affiliate.id for affiliate in record.affiliates] for record in read_records(file)}


def test_a_cluster_has_one_process_and_clusters_are_spread_evenly() -> None:
    owners = [owner_of(f"cluster {number}", 4) for number in range(1000)]
    assert owners == [owner_of(f"cluster {number}", 4) for number in range(1000)]
    assert all(200 < owners.count(place) < 300 for place in range(4))
    team = Team(1, 3, Path("/run/x"))
    assert {team.other_owner(f"{number}") for number in range(50)} == {0, 2, None}
    assert Team(1, 3, Path(), shares=True).other_owner("x") is None
    assert team.others == (0, 2)


def test_every_cluster_follows_its_process_when_the_number_of_processes_changes(tmp_path: Path) -> None:
    path = tmp_path / "state.binpb"
    ids = [f"cluster {number}" for number in range(50)]
    write(path, [_record(id, "a", "b") for id in ids])
    for count in (3, 2, 2, 5, 1):
        arrange(path, count, LOG)
        assert {file.name for file in tmp_path.iterdir()} == {
            part_of(path, place, count).name for place in range(count)
        }
        parts = [_clusters(part_of(path, place, count)) for place in range(count)]
        assert sorted(id for part in parts for id in part) == sorted(ids)
        for place, part in enumerate(parts):
            assert all(owner_of(id, count) == place and affiliates == ["a", "b"] for id, affiliates in part.items())


def test_files_of_the_right_number_are_left_alone_and_so_are_those_of_others(tmp_path: Path) -> None:
    path = tmp_path / "state.binpb"
    arrange(tmp_path / "missing" / "state.binpb", 2, LOG)
    for name in ("state.binpb.1-of-2", "state.binpb.old", "other.1-of-3", "state.binpb.0-of-3"):
        (tmp_path / name).write_bytes(b"anything")
    arrange(path, 2, LOG)
    assert all(file.read_bytes() == b"anything" for file in tmp_path.iterdir())


def test_the_newest_file_counts_and_a_damaged_one_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "state.binpb"
    write(path, [_record("both", "new")])
    write(tmp_path / "state.binpb.1-of-2", [_record("both", "old"), _record("only", "a"), b"\xff"])
    os.utime(tmp_path / "state.binpb.1-of-2", ns=(1, 1))
    arrange(path, 1, LOG)
    assert _clusters(path) == {"both": ["new"], "only": ["a"]}
    assert sorted(file.name for file in tmp_path.iterdir()) == ["state.binpb", "state.binpb.1-of-2.damaged"]


def test_a_failure_to_write_leaves_all_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state.binpb"
    write(path, [_record("c", "a")])

    def fail(*_: object) -> int:
        raise OSError("no room")

    monkeypatch.setattr("nodespan.discovery.service.snapshot_file.write", fail)
    with pytest.raises(OSError, match="no room"):
        arrange(path, 2, LOG)
    assert _clusters(path) == {"c": ["a"]}


def test_a_damaged_file_is_kept_although_its_name_is_taken_again(tmp_path: Path) -> None:
    path = tmp_path / "state.binpb"
    damaged = _record("a", "x") + b"\xff" + _record("b", "y")
    path.write_bytes(damaged)
    write(tmp_path / "state.binpb.1-of-2", [_record("c", "z")])
    arrange(path, 1, LOG)
    assert _clusters(path) == {"a": ["x"], "c": ["z"]}
    assert (tmp_path / "state.binpb.damaged").read_bytes() == damaged


def test_the_files_of_a_running_service_stay_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "new" / "state.binpb"
    with arranged(path, 1, LOG):
        write(path, [_record("c", "a")])
        with pytest.raises(OSError, match="a running service"), arranged(path, 2, LOG, patience=0.0):
            pass
        with arranged(path, 1, LOG):
            pass
        assert _clusters(path) == {"c": ["a"]}
    with arranged(path, 2, LOG):
        assert not path.exists()


def test_a_second_service_of_as_many_processes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.binpb"
    with arranged(path, 2, LOG):
        refusal = "a running service has its snapshots there: stop it, or give this one another file"
        with pytest.raises(OSError, match=refusal), arranged(path, 2, LOG, patience=0.0):
            pass
    with arranged(path, 2, LOG, patience=0.0):
        pass


def test_the_processes_of_a_killed_service_are_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "state.binpb"
    held = ExitStack()
    held.enter_context(arranged(path, 2, LOG))
    # As soon as it looks for the second time.
    ending = threading.Timer(0.1, held.close)
    ending.start()
    with arranged(path, 2, LOG, patience=PATIENCE):
        pass
    ending.join()


def test_a_folder_that_cannot_be_made_keeps_no_service_from_running(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with arranged(tmp_path / "file" / "state.binpb", 2, LOG):
        assert [file.name for file in tmp_path.iterdir()] == ["file"]
