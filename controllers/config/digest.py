"""Digests, by which a change of a configuration is noticed."""

import hashlib
from pathlib import Path

from nodespan.controllers.config.reading import LARGEST
from nodespan.runtime.named_file import read_named


def file_digest(path: Path) -> str:
    """The digest of a file, "" for a missing one. Blocks. Raises OSError."""
    try:
        return text_digest(read_named(path, LARGEST))
    except FileNotFoundError:
        return ""


def text_digest(text: bytes) -> str:
    """The SHA-256 digest of a text, in hexadecimal."""
    return hashlib.sha256(text).hexdigest()
