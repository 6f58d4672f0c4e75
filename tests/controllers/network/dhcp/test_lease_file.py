"""The file that keeps a lease over restarts and reboots."""

import json
from pathlib import Path

import attrs
import pytest

from nodespan.controllers.network.dhcp.lease import Lease
from nodespan.controllers.network.dhcp.lease4 import lease_of
from nodespan.controllers.network.dhcp.lease_file import LeaseFile, Moment
from nodespan.controllers.network.dhcp.malformed import MalformedError
from nodespan.controllers.network.dhcp.message4 import decode
from tests.controllers.network.dhcp import packets

SECOND = 1_000_000_000
NOON = 1_800_000_000 * SECOND
NOW = Moment(boot_id="one", since_boot=1000.0, calendar=NOON)


def parse(message: bytes, obtained: float) -> Lease:
    return lease_of(decode(message), obtained)


LEASE = parse(packets.ACK4, 990.0)


def kept(directory: Path, client: str = "me") -> LeaseFile:
    file = LeaseFile(directory / "dhcp" / "dhcp4-eth0.json", client)
    file.write(LEASE, NOW)
    return file


def test_a_lease_is_read_as_it_was_written(tmp_path: Path) -> None:
    file = kept(tmp_path)
    assert file.read(NOW, parse) == LEASE
    assert file.read(attrs.evolve(NOW, since_boot=1100.0, calendar=0), parse) == LEASE


def test_only_its_owner_may_read_it_and_nothing_else_is_left(tmp_path: Path) -> None:
    file = kept(tmp_path)
    file.write(LEASE, NOW)
    assert file.path.stat().st_mode & 0o777 == 0o600
    assert file.path.parent.stat().st_mode & 0o777 == 0o700
    assert list(file.path.parent.iterdir()) == [file.path]


def test_after_a_reboot_the_wall_clock_gives_the_age(tmp_path: Path) -> None:
    file = kept(tmp_path)
    rebooted = Moment(boot_id="two", since_boot=5.0, calendar=NOON + 20 * SECOND)
    lease = file.read(rebooted, parse)
    assert lease is not None
    assert lease.obtained == pytest.approx(5.0 - 30.0, abs=1)
    assert lease.expires_at == pytest.approx(5.0 + 90.0, abs=1)


def test_a_wall_clock_that_was_set_back_gives_no_age(tmp_path: Path) -> None:
    assert kept(tmp_path).read(Moment(boot_id="two", since_boot=5.0, calendar=NOON - 60 * SECOND), parse) is None


def test_a_lease_is_for_the_client_that_got_it(tmp_path: Path) -> None:
    file = kept(tmp_path)
    assert LeaseFile(file.path, "somebody else").read(NOW, parse) is None


def test_a_lease_that_is_gone_is_none(tmp_path: Path) -> None:
    file = kept(tmp_path)
    file.remove()
    file.remove()
    assert file.read(NOW, parse) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"message": "zz"},
        {"message": "00"},
        {"message": None},
        {"obtained": "soon"},
        {"obtained": None},
        {"bootID": "two", "obtainedAt": "yesterday"},
    ],
)
def test_a_damaged_file_is_malformed(tmp_path: Path, changes: dict[str, object]) -> None:
    file = kept(tmp_path)
    file.path.write_text(json.dumps(json.loads(file.path.read_text()) | changes))
    with pytest.raises(MalformedError):
        file.read(NOW, parse)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"\xff", b"{}", b'"text"'])
def test_an_invalid_file_is_malformed(tmp_path: Path, text: bytes) -> None:
    file = kept(tmp_path)
    file.path.write_bytes(text)
    with pytest.raises(MalformedError, match="dhcp4-eth0"):
        file.read(NOW, parse)
