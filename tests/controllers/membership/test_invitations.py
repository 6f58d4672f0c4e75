"""Invitations: what a token of a control plane is good for."""

import json
import stat
from pathlib import Path
from unittest import mock

import attrs
import pytest

from nodespan.controllers.membership.invitations import (
    UNLIMITED,
    Invitation,
    InvitationError,
    InvitationFile,
    added,
    invite,
    redeem,
    remembered,
)

NOW = 1_000_000.0


def invited(*, uses: int = UNLIMITED, expires: float | None = None) -> tuple[Invitation, str]:
    return invite(uses=uses, expires=expires, random_bytes=lambda size: bytes(range(size)))


def test_a_secret_is_needed_and_not_kept() -> None:
    invitation, secret = invited()
    assert secret not in repr(invitation)
    assert redeem([invitation], invitation.id, secret, NOW) == (invitation,)
    for id, wrong in ((invitation.id, "0" * 32), (invitation.id, ""), ("other", secret)):
        with pytest.raises(InvitationError, match="not known there"):
            redeem([invitation], id, wrong, NOW)


def test_uses_are_counted_to_the_last() -> None:
    invitation, secret = invited(uses=2)
    left: tuple[Invitation, ...] = (invitation,)
    for expected in (1, 0):
        left = redeem(left, invitation.id, secret, NOW)
        assert left[0].uses == expected
    with pytest.raises(InvitationError, match="is used up: `nodespan token` makes a new one"):
        redeem(left, invitation.id, secret, NOW)


@pytest.mark.parametrize(("now", "is_taken"), [(NOW - 1, True), (NOW, False), (NOW + 1, False)])
def test_a_token_expires(now: float, is_taken: bool) -> None:
    invitation, secret = invited(expires=NOW)
    if is_taken:
        assert redeem([invitation], invitation.id, secret, now)
    else:
        with pytest.raises(InvitationError, match="has expired"):
            redeem([invitation], invitation.id, secret, now)


def test_expired_ones_are_forgotten_after_a_week() -> None:
    invitation, _ = invited(expires=NOW)
    assert remembered([invitation], NOW + 6 * 86400) == (invitation,)
    assert remembered([invitation], NOW + 8 * 86400) == ()


def test_those_that_ended_are_not_kept_without_bound(tmp_path: Path) -> None:
    known: tuple[Invitation, ...] = ()
    valid, _ = invited(expires=None)
    for number in range(300):
        ended = Invitation(
            id=f"{number:08x}", digest="0" * 64, uses=number % 2, expires=None if number % 2 == 0 else NOW
        )
        known = added(known, ended, NOW)
    known = added(known, valid, NOW)
    assert [each.id for each in known] == [*(f"{number:08x}" for number in range(200, 300)), valid.id]


def test_the_file_never_grows_beyond_what_is_read(tmp_path: Path) -> None:
    ended = tuple(Invitation(id=f"{n:08x}", digest="0" * 64, uses=0) for n in range(100))
    valid = tuple(Invitation(id=f"1{n:07x}", digest="0" * 64, expires=NOW + 0.123456) for n in range(999))
    file = InvitationFile(tmp_path)
    with mock.patch.object(InvitationFile, "read", return_value=(*ended, *valid)):
        file.add(invited(expires=NOW + 1)[0], NOW)
    assert len(file.read()) == 1100
    assert (tmp_path / "invitations.json").stat().st_size < 1 << 19
    with pytest.raises(InvitationError, match="1000 tokens are valid already: revoke some"):
        file.add(attrs.evolve(invited()[0], id="one more"), NOW)
    assert file.revoke("10000000")
    file.add(attrs.evolve(invited()[0], id="one more"), NOW)


def test_uses_are_on_the_disk_before_the_answer(tmp_path: Path) -> None:
    invitation, secret = invited(uses=1)
    InvitationFile(tmp_path).add(invitation, NOW)
    file = tmp_path / "invitations.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert secret not in file.read_text()
    InvitationFile(tmp_path).redeem(invitation.id, secret, NOW)
    assert json.loads(file.read_text())["invitations"][0]["uses"] == 0
    with pytest.raises(InvitationError, match="used up"):
        InvitationFile(tmp_path).redeem(invitation.id, secret, NOW)


def test_a_revoked_token_is_not_taken(tmp_path: Path) -> None:
    invitation, secret = invited()
    file = InvitationFile(tmp_path)
    file.add(invitation, NOW)
    assert file.revoke(invitation.id)
    assert not file.revoke(invitation.id)
    with pytest.raises(InvitationError, match="not known there, or was revoked"):
        file.redeem(invitation.id, secret, NOW)


@pytest.mark.parametrize("damaged", ["", "[]", "{", '{"invitations": [{"id": 1}]}'])
def test_a_damaged_file_is_named(tmp_path: Path, damaged: str) -> None:
    (tmp_path / "invitations.json").write_text(damaged)
    with pytest.raises(InvitationError, match=r"invitations\.json is damaged"):
        InvitationFile(tmp_path).read()
