"""The settings of a client's TLS, whose strictness is that of no version of Python."""

import ssl
from pathlib import Path


def trusting(authorities: Path | str | None) -> ssl.SSLContext:
    """Settings that trust the authorities in a file of PEM, those of the system without one.

    From 3.13 on Python's own refuse authorities that do not say what their key is for (RFC 5280, 4.2.1.3). Those of
    companies often do not, and the originals take them, as an older Python does. Blocks on the disk; raises OSError.
    """
    context = ssl.create_default_context(cafile=authorities)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context
