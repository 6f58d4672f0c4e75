"""Invitations: which tokens a control plane takes, until when, and how often. The rules are pure.

They lie in a file of the state directory, with digests instead of the secrets. The agent and `nodespan token` both
change it, under one lock: what one of them has taken, the other one counts. All calls on the file block.
"""

import contextlib
import fcntl
import hmac
import json
import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import attrs

from nodespan.runtime.whole_file import replace_file

FILE_NAME: Final = "invitations.json"
UNLIMITED: Final = -1
# Seconds for which an invitation that is used up or has expired is kept, to say so.
_REMEMBERED = 7 * 24 * 3600.0
# How many of those at most, the latest; and how many that are valid. Together far less than _LARGEST.
_MOST_ENDED = 100
_MOST_VALID = 1000
_LARGEST = 1 << 20


class InvitationError(Exception):
    """An invitation is not taken. The text says why, and what to do."""


@attrs.frozen(kw_only=True)
class Invitation:
    """`uses` are left, UNLIMITED for any number; `expires` is a Unix time, None for never."""

    id: str
    digest: str
    uses: int = UNLIMITED
    expires: float | None = None

    def ended(self, now: float) -> str:
        """Why nobody can use it any more, "" if they can."""
        if self.expires is not None and now >= self.expires:
            return "has expired"
        return "is used up" if self.uses == 0 else ""


def invite(
    *, uses: int, expires: float | None, random_bytes: Callable[[int], bytes] = secrets.token_bytes
) -> tuple[Invitation, str]:
    """A new invitation, and its secret."""
    secret = random_bytes(16).hex()
    return Invitation(id=random_bytes(4).hex(), digest=_digest(secret), uses=uses, expires=expires), secret


def redeem(invitations: Iterable[Invitation], id: str, secret: str, now: float) -> tuple[Invitation, ...]:
    """The invitations after one was used. Raises InvitationError if it is not taken."""
    after = list(invitations)
    for index, known in enumerate(after):
        if known.id == id and hmac.compare_digest(known.digest, _digest(secret)):
            if reason := known.ended(now):
                raise InvitationError(f"the token {reason}: `nodespan token` makes a new one there")
            if known.uses != UNLIMITED:
                after[index] = attrs.evolve(known, uses=known.uses - 1)
            return tuple(after)
    raise InvitationError("the token is not known there, or was revoked: `nodespan token` makes a new one there")


def remembered(invitations: Iterable[Invitation], now: float) -> tuple[Invitation, ...]:
    """Without those that ended long ago: expired a week ago, or before the latest hundred that ended."""
    recent = [each for each in invitations if each.expires is None or now < each.expires + _REMEMBERED]
    ended = [each.id for each in recent if each.ended(now)]
    forgotten = set(ended[:-_MOST_ENDED])
    return tuple(each for each in recent if each.id not in forgotten)


def added(invitations: Iterable[Invitation], invitation: Invitation, now: float) -> tuple[Invitation, ...]:
    """Those that are remembered, and one more. Raises InvitationError if it is one too many."""
    known = remembered(invitations, now)
    if sum(not each.ended(now) for each in known) >= _MOST_VALID:
        raise InvitationError(
            f"{_MOST_VALID} tokens are valid already: revoke some (`nodespan token revoke`), or let one serve several "
            "machines (--uses)"
        )
    return (*known, invitation)


class InvitationFile:
    """The invitations of one node."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / FILE_NAME

    def add(self, invitation: Invitation, now: float) -> None:
        """Take one more. Raises OSError, InvitationError."""
        with self._changing() as known:
            self._write(added(known, invitation, now))

    def check(self, id: str, secret: str, now: float) -> None:
        """Whether `redeem` would take it, without a lock. Raises InvitationError if not, OSError."""
        redeem(self.read(), id, secret, now)

    def redeem(self, id: str, secret: str, now: float) -> None:
        """Use an invitation; on the disk before this returns. Raises InvitationError, OSError."""
        with self._changing() as known:
            after = redeem(known, id, secret, now)
            if after != known:
                self._write(after)

    def revoke(self, id: str) -> bool:
        """Forget one; whether it was known. Raises OSError, InvitationError."""
        with self._changing() as known:
            left = tuple(each for each in known if each.id != id)
            if left != known:
                self._write(left)
            return left != known

    def read(self) -> tuple[Invitation, ...]:
        """All of them; none without a file. Raises OSError, InvitationError."""
        try:
            with self._path.open("rb") as file:
                plain = json.loads(file.read(_LARGEST))
            return tuple(map(_invitation, plain["invitations"]))
        except FileNotFoundError:
            return ()
        except (ValueError, KeyError, TypeError) as error:
            raise InvitationError(f"{self._path} is damaged: remove it, and make new tokens") from error

    def _write(self, invitations: Iterable[Invitation]) -> None:
        plain = {"invitations": [attrs.asdict(each) for each in invitations]}
        replace_file(self._path, json.dumps(plain, indent=1) + "\n", mode=0o600)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[tuple[Invitation, ...]]:
        lock = os.open(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.fchmod(lock, 0o600)  # whatever the umask is
            fcntl.flock(lock, fcntl.LOCK_EX)  # held for the writing of one small file
            yield self.read()
        finally:
            os.close(lock)


def _invitation(plain: dict[str, Any]) -> Invitation:
    expires = plain["expires"]
    return Invitation(
        id=str(plain["id"]),
        digest=str(plain["digest"]),
        uses=int(plain["uses"]),
        expires=None if expires is None else float(expires),
    )


def _digest(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()
