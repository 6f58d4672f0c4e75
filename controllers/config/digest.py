"""Digests, by which a change of a configuration is noticed."""

import hashlib
from pathlib import Path


def file_digest(path: Path) -> str:
    """The digest of a file, "" for a missing one. Blocks. Raises OSError."""
    try:
        return text_digest(path.read_bytes())
    except FileNotFoundError:
        return ""


def text_digest(text: bytes) -> str:
    """The SHA-256 digest of a text, in hexadecimal."""
    return hashlib.sha256(text).hexdigest()
