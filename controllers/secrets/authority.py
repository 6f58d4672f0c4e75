"""Certificates of the cluster's API: an authority of Ed25519 keys, and what it issues.

As in Talos: the roles of a client are the organizations in the subject of its certificate, whose only use is to
authenticate a client; a server is named by the addresses and names it answers at. Pure but for the keys' randomness;
times are given. It loads a large library, so an agent has it done elsewhere: see `issuing`.
"""

import datetime
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from nodespan.controllers.secrets.errors import CertificateError
from nodespan.controllers.secrets.key_pair import CANNOT_SIGN, KeyPair
from nodespan.runtime.pem import go_key, standard_key

PrivateKey = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
Address = IPv4Address | IPv6Address

AUTHORITY_LIFETIME: Final = datetime.timedelta(days=3650)
ADMIN_LIFETIME: Final = datetime.timedelta(days=365)
# Short, because nothing revokes a certificate but its end.
SERVER_LIFETIME: Final = datetime.timedelta(hours=24)
# Clocks of other machines may be behind ours.
BACKDATED: Final = datetime.timedelta(minutes=10)
_ORGANIZATION = "talos"
_LONGEST_COMMON_NAME = 64


def load_certificate(pem: bytes) -> x509.Certificate:
    """The one certificate of a PEM text. Raises CertificateError."""
    try:
        found = x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise CertificateError("holds no certificate, or a damaged one") from error
    if len(found) > 1:
        raise CertificateError(f"holds {len(found)} certificates, not 1")
    return found[0]


def load_key(pem: bytes) -> PrivateKey:
    """The private key of a PEM text, under the original's label or the standard one. Raises CertificateError."""
    try:
        key = serialization.load_pem_private_key(standard_key(pem), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise CertificateError("holds no private key, or a damaged one") from error
    if not isinstance(key, PrivateKey):
        raise CertificateError(CANNOT_SIGN)
    return key


def new_key() -> tuple[ed25519.Ed25519PrivateKey, bytes]:
    """A new key, and its PEM text under the original's label."""
    key = ed25519.Ed25519PrivateKey.generate()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return key, go_key(pem)


def new_authority(now: datetime.datetime) -> KeyPair:
    """A new authority, valid for ten years."""
    key, pem = new_key()
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, _ORGANIZATION)])
    certificate = (
        _builder(name, name, key.public_key(), now, AUTHORITY_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, None)
    )
    return KeyPair(certificate.public_bytes(serialization.Encoding.PEM), pem)


def issue_client(
    authority: KeyPair, roles: Iterable[str], now: datetime.datetime, lifetime: datetime.timedelta = ADMIN_LIFETIME
) -> KeyPair:
    """A certificate that makes a client of these roles. Raises CertificateError for an authority without a key."""
    key, pem = new_key()
    subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, role) for role in roles])
    return KeyPair(
        _issue(authority, subject, key.public_key(), None, ExtendedKeyUsageOID.CLIENT_AUTH, now, lifetime), pem
    )


def issue_server(
    authority: KeyPair,
    name: str,
    addresses: Iterable[Address],
    names: Iterable[str],
    now: datetime.datetime,
    lifetime: datetime.timedelta = SERVER_LIFETIME,
) -> KeyPair:
    """A certificate for a server at these addresses and names. Raises CertificateError as `issue_client` does."""
    key, pem = new_key()
    subject = _named(name)
    sans = _alternative_names(addresses, names)
    return KeyPair(
        _issue(authority, subject, key.public_key(), sans, ExtendedKeyUsageOID.SERVER_AUTH, now, lifetime), pem
    )


def new_request(name: str, addresses: Iterable[Address], names: Iterable[str]) -> tuple[bytes, bytes]:
    """A request for a server's certificate, and the key that belongs to it, both as PEM."""
    key, pem = new_key()
    subject = _named(name)
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    request = builder.add_extension(_alternative_names(addresses, names), critical=False).sign(key, None)
    return request.public_bytes(serialization.Encoding.PEM), pem


def sign_request(
    authority: KeyPair, request: bytes, now: datetime.datetime, lifetime: datetime.timedelta = SERVER_LIFETIME
) -> bytes:
    """The server's certificate that a request (PEM) asks for. Raises CertificateError.

    Of the request's subject only the common name counts: an organization would be a role. Of its extensions only the
    addresses and names do.
    """
    try:
        asked = x509.load_pem_x509_csr(request)
        if not asked.is_signature_valid:
            raise CertificateError("is not signed by its own key")
        sans = asked.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (
        ValueError,
        UnsupportedAlgorithm,
        InvalidSignature,
        x509.DuplicateExtension,
        x509.ExtensionNotFound,
        x509.UnsupportedGeneralNameType,
    ) as error:
        raise CertificateError("is no request for the certificate of a server with addresses or names") from error
    names = [str(each.value) for each in asked.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    subject = _named(names[0] if names else "")
    public = asked.public_key()
    if not isinstance(public, ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        raise CertificateError("has a key of a kind that cannot sign")
    allowed = x509.SubjectAlternativeName([name for name in sans if isinstance(name, x509.DNSName | x509.IPAddress)])
    return _issue(authority, subject, public, allowed, ExtendedKeyUsageOID.SERVER_AUTH, now, lifetime)


def check_issued(authority: bytes, certificate: bytes) -> None:
    """Raise CertificateError unless the authority, a certificate in PEM, has signed the other one."""
    try:
        load_certificate(certificate).verify_directly_issued_by(load_certificate(authority))
    except InvalidSignature as error:
        raise CertificateError("is of another authority") from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise CertificateError(f"cannot be used: {error}") from error


# The parts of a certificate.


def _named(name: str) -> x509.Name:
    """A server's subject. A common name has at most 64 characters (RFC 5280); what counts are the alternative names."""
    fits = 0 < len(name.encode()) <= _LONGEST_COMMON_NAME
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)] if fits else [])


def _alternative_names(addresses: Iterable[Address], names: Iterable[str]) -> x509.SubjectAlternativeName:
    general: list[x509.GeneralName] = [x509.IPAddress(address) for address in dict.fromkeys(addresses)]
    for name in dict.fromkeys(names):
        try:
            general.append(x509.IPAddress(ip_address(name)))
        except ValueError:
            try:
                general.append(x509.DNSName(name))
            except ValueError as error:
                raise CertificateError(f"the name {name!r} cannot stand in a certificate") from error
    return x509.SubjectAlternativeName(general)


def _issue(
    authority: KeyPair,
    subject: x509.Name,
    public: ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey | rsa.RSAPublicKey,
    sans: x509.SubjectAlternativeName | None,
    use: x509.ObjectIdentifier,
    now: datetime.datetime,
    lifetime: datetime.timedelta,
) -> bytes:
    if not authority.key:
        raise CertificateError("the authority's key is not known here")
    try:
        signer, issuer = load_key(authority.key), load_certificate(authority.certificate)
    except CertificateError as error:
        raise CertificateError(f"the authority {error}") from error
    if issuer.not_valid_after_utc <= now:
        raise CertificateError("the authority's certificate has expired")
    builder = (
        _builder(subject, issuer.subject, public, now, min(lifetime, issuer.not_valid_after_utc - now))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([use]), critical=False)
        .add_extension(_authority_key(issuer), critical=False)
    )
    if sans is not None and list(sans):
        builder = builder.add_extension(sans, critical=not list(subject))
    algorithm = None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(signer, algorithm).public_bytes(serialization.Encoding.PEM)


def _authority_key(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """As the authority identifies its key, which whoever verifies compares: not everybody takes the SHA-1 of it."""
    key = _signer_key(issuer)
    try:
        own = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(key)
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)


def _signer_key(
    issuer: x509.Certificate,
) -> ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey | rsa.RSAPublicKey:
    key = issuer.public_key()
    if not isinstance(key, ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        raise CertificateError("the authority has a key of a kind that cannot sign: use Ed25519, ECDSA or RSA")
    return key


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public: ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey | rsa.RSAPublicKey,
    now: datetime.datetime,
    lifetime: datetime.timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + lifetime)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
