"""Seals secrets that are stored: AES-GCM, bound to their address so that sealed values cannot change places.

The key is 32 random bytes, in base64, in a file that only its user reads, or in a credential of systemd.
"""

import base64
import os
import secrets
import stat
from pathlib import Path

from nodespan.runtime.named_file import LARGEST_PEM, read_named
from nodespan.runtime.whole_file import create_file

CREDENTIAL = "nodespan-state.key"
_KEY_SIZE = 32
_NONCE_SIZE = 12


class SealError(Exception):
    """A key that is missing, unsafe or another one, or a sealed value that was changed or moved."""


def credential_key() -> Path | None:
    """Where systemd put the key, if the unit has it as a credential."""
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    path = None if not directory else Path(directory, CREDENTIAL)
    return path if path is not None and path.exists() else None


def make_key(path: Path) -> None:
    """Make a new key. Raises FileExistsError, other OSErrors."""
    create_file(path, base64.b64encode(secrets.token_bytes(_KEY_SIZE)) + b"\n")


def load_key(path: Path) -> bytes:
    """The key in a file. Raises FileNotFoundError, other OSErrors, and SealError."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise SealError(f"{path} is not a regular file, so it is no key")
    if status.st_mode & 0o077:
        raise SealError(f"{path} is a key that others may read: make a new one, or `chmod 600` it if none has yet")
    try:
        key = base64.b64decode(read_named(path, LARGEST_PEM).strip(), validate=True)
    except ValueError:
        key = b""
    if len(key) != _KEY_SIZE:
        raise SealError(f"{path} holds no key: {_KEY_SIZE} random bytes in base64 are expected")
    return key


class Seal:
    """Seals and opens with one key."""

    def __init__(self, key: bytes) -> None:
        # Only a process that has secrets to store pays for the library.
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._cipher = AESGCM(key)

    def seal(self, address: bytes, plain: bytes) -> bytes:
        """The sealed value; it opens under the same address only."""
        nonce = secrets.token_bytes(_NONCE_SIZE)
        return nonce + self._cipher.encrypt(nonce, plain, address)

    def open(self, address: bytes, sealed: bytes) -> bytes:
        """What was sealed. Raises SealError."""
        from cryptography.exceptions import InvalidTag

        try:
            return self._cipher.decrypt(sealed[:_NONCE_SIZE], sealed[_NONCE_SIZE:], address)
        except (InvalidTag, ValueError):
            raise SealError("the sealed value was changed, moved, or sealed with another key") from None
