"""The settings of a client's TLS, the same on all versions of Python."""

import ssl
from pathlib import Path


def trusting(authorities: Path | str | None) -> "ssl.SSLContext":
    """Settings that trust the authorities in a file of PEM, those of the system without one.

    From 3.13 on Python's own refuse authorities that do not say what their key is for (RFC 5280, 4.2.1.3), as those of
    companies often do not, and take an authority without the one that has certified it. Here they are as before that,
    and as those of connections over gRPC. Blocks on the disk; raises OSError.
    """
    context = ssl.create_default_context(cafile=authorities)
    context.verify_flags &= ~(ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN)
    return context
