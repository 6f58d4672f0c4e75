"""The certificate authorities that the system trusts, which is one file on every distribution."""

import os
from pathlib import Path

from nodespan.runtime.named_file import LARGEST_PEM, read_named

# Where systems keep their certificate authorities, in one file.
_SYSTEM_ROOTS = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Arch, Gentoo
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # Fedora, RHEL
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/etc/ssl/cert.pem",  # Alpine, and others
)


class TrustError(ValueError):
    """Certificates or a key that cannot be used; the text says which and why."""


def roots_signature() -> tuple[object, ...]:
    """What changes whenever the file of `system_roots` does: the place, and what the disk says of it; () for none."""
    for path in _places():
        try:
            status = os.stat(path)
        except FileNotFoundError:
            continue
        except OSError as error:
            return path, str(error)
        return path, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
    return ()


def _places() -> tuple[str, ...]:
    chosen = os.environ.get("SSL_CERT_FILE")
    return (chosen,) if chosen else _SYSTEM_ROOTS


def system_roots() -> bytes:
    """The certificate authorities of the system as PEM, of $SSL_CERT_FILE where that is set. Blocks on the disk.

    Raises TrustError if there is no such file: then no server could be trusted.
    """
    for path in _places():
        try:
            return read_named(Path(path), LARGEST_PEM)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise TrustError(f"the certificate authorities cannot be read: {error}") from error
    where = os.environ.get("SSL_CERT_FILE") or "any of the places where systems keep them"
    raise TrustError(
        f"no certificate authorities in {where}: install ca-certificates, or point SSL_CERT_FILE at a bundle"
    )
