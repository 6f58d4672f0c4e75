"""Whom a client trusts, and who it is itself: certificates in PEM."""

import os
import ssl

from nodespan.runtime.pem import PEMError, certificate_blocks
from nodespan.runtime.system_roots import TrustError, system_roots


def client_context(*, roots: bytes | None = None, certificate: bytes = b"", key: bytes = b"") -> "ssl.SSLContext":
    """The settings of a connection, from PEM: HTTP/2 over TLS 1.2 or newer, to a server that `roots` have certified.

    Without `roots` the system's are trusted. `certificate` and `key` are for servers that ask for them. Blocks on the
    disk; raises TrustError.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2"])
    trusted = system_roots() if roots is None else roots
    if not trusted.strip():
        raise TrustError("the certificate authorities cannot be read: there are none")
    try:
        context.load_verify_locations(cadata=trusted.decode("ascii", "replace"))
    except ssl.SSLError as error:
        raise TrustError(f"the certificate authorities cannot be read: {error.reason}") from error
    if certificate:
        try:
            certificate_blocks(certificate.decode("utf-8", "replace"))
        except PEMError as error:
            raise TrustError(f"the client's certificate cannot be read: {error}") from error
        present_certificate(context, certificate, key, whose="the client's")
    return context


def present_certificate(context: "ssl.SSLContext", certificate: bytes, key: bytes, *, whose: str) -> None:
    """Have a context show a certificate, from PEM. Raises TrustError, which says `whose` it is."""
    # OpenSSL's door for Python takes files only: this one is in memory, and gone afterwards.
    descriptor = os.memfd_create("certificate", os.MFD_CLOEXEC)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(certificate.rstrip() + b"\n" + key)
        # Without a password it would be asked for at the terminal.
        context.load_cert_chain(f"/proc/self/fd/{descriptor}", password="")
    except (ssl.SSLError, ValueError) as error:
        reason = (error.reason if isinstance(error, ssl.SSLError) else "") or str(error)
        text = reason.lower().replace("_", " ")
        raise TrustError(f"{whose} certificate and key cannot be used: {text}") from error
    finally:
        os.close(descriptor)


__all__ = ["TrustError", "client_context", "present_certificate", "system_roots"]
