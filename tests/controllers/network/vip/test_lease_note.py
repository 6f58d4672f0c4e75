"""The note by which an agent revokes the lease that its predecessor left at etcd."""

from pathlib import Path

import pytest

from nodespan.controllers.network.vip.lease_note import LeaseNote


@pytest.mark.parametrize("lease", [1, 0x22B8A1FD79AB720E, 2**63 - 1])
def test_what_was_noted_last_is_read(tmp_path: Path, lease: int) -> None:
    note = LeaseNote(tmp_path / "vip" / "192.0.2.100")
    note.write(7)
    note.write(lease)
    assert note.read() == lease
    assert [path.name for path in note.path.parent.iterdir()] == ["192.0.2.100"]


def test_there_may_be_no_note_and_what_is_damaged_is_none(tmp_path: Path) -> None:
    note = LeaseNote(tmp_path / "vip" / "2001:db8::1")
    assert note.read() is None
    note.remove()
    note.write(7)
    note.path.write_text("no number")
    assert note.read() is None
    note.remove()
    assert not note.path.exists()


def test_what_cannot_be_written_leaves_the_old_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    note = LeaseNote(tmp_path / "vip" / "192.0.2.100")
    note.write(7)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        note.write(8)
    assert note.read() == 7
    assert [path.name for path in note.path.parent.iterdir()] == ["192.0.2.100"]
