"""Certificates with their keys, as configurations hold them: read and checked, without the library that issues them.

What an agent does all the time is here; issuing, which is rare, is in `authority`.
"""

import base64
import binascii
from typing import Final

import attrs

from nodespan.controllers.secrets.errors import CertificateError
from nodespan.runtime.certificate import (
    CLIENT_AUTH,
    ORGANIZATION,
    Certificate,
    CertificateFormatError,
    check_usable,
    pem_of,
    read_certificate,
    read_certificates,
)
from nodespan.runtime.pem import standard_key

LARGEST: Final = 1 << 16
CANNOT_SIGN: Final = "holds a private key of a kind that cannot sign: use Ed25519, ECDSA or RSA"
# What OpenSSL says of a key of another certificate: of the same kind, and of two other kinds.
_NOT_THIS_KEY = frozenset({"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED"})
_CANNOT_SIGN = "UNKNOWN_CERTIFICATE_TYPE"


@attrs.frozen
class KeyPair:
    """A certificate and its key, both as PEM. The key of an authority may be unknown, which is empty."""

    certificate: bytes
    key: bytes = attrs.field(default=b"", repr=False)


def decode_pem(text: str) -> bytes:
    """PEM as configurations hold it, in base64. Raises CertificateError; the empty text is nothing."""
    if len(text) > LARGEST:
        raise CertificateError(f"has more than {LARGEST} characters")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise CertificateError("is not base64") from error


def encode_pem(pem: bytes) -> str:
    """PEM as configurations hold it."""
    return base64.b64encode(pem).decode()


def certificate_of(pem: bytes) -> Certificate:
    """The one certificate of a PEM text. Raises CertificateError."""
    try:
        found = read_certificates(pem)
    except ValueError as error:
        raise CertificateError("holds no certificate, or a damaged one") from error
    if len(found) > 1:
        raise CertificateError(f"holds {len(found)} certificates, not 1")
    return found[0]


def check_pair(pair: KeyPair) -> None:
    """Raise CertificateError unless the certificate can be used, and the key, if there is one, belongs to it."""
    # What issues certificates reads pairs, too, and needs no OpenSSL beside its own.
    import ssl

    from nodespan.runtime.api.grpc.client.trust import TrustError, present_certificate

    certificate = certificate_of(pair.certificate)
    try:
        check_usable(certificate)
    except CertificateFormatError as error:
        raise CertificateError("holds no certificate, or a damaged one") from error
    if not pair.key:
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # Whether a key is long enough is for those to say who trust it.
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    try:
        present_certificate(context, pem_of(certificate.der), standard_key(pair.key), whose="its")
    except TrustError as error:
        reason = getattr(error.__cause__, "reason", "")
        if reason in _NOT_THIS_KEY:
            raise CertificateError("holds a key that does not belong to the certificate") from error
        if reason == _CANNOT_SIGN:
            raise CertificateError(CANNOT_SIGN) from error
        raise CertificateError("holds no private key, or a damaged one") from error


def roles_of(certificate: Certificate) -> tuple[str, ...]:
    """The roles of the client with this certificate: none unless its only use is to authenticate clients."""
    return certificate.subject.values(ORGANIZATION) if certificate.usages == (CLIENT_AUTH,) else ()


def roles_of_peer(der: bytes) -> tuple[str, ...]:
    """The roles of a client that OpenSSL has let in with this certificate. Raises CertificateFormatError.

    OpenSSL takes more than DER has: a client with such a certificate was let in, and has no roles.
    """
    return roles_of(read_certificate(der))


__all__ = [
    "CANNOT_SIGN",
    "LARGEST",
    "KeyPair",
    "certificate_of",
    "check_pair",
    "decode_pem",
    "encode_pem",
    "roles_of",
    "roles_of_peer",
]
