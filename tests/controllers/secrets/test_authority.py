"""The authority of the API: what it issues verifies, and nothing that it did not decide gets in."""

import contextlib
import datetime
import ssl
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, x25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from nodespan.controllers.secrets.api_certificate import is_of
from nodespan.controllers.secrets.authority import (
    check_issued,
    issue_client,
    issue_server,
    load_certificate,
    load_key,
    new_authority,
    new_request,
    sign_request,
)
from nodespan.controllers.secrets.errors import CertificateError
from nodespan.controllers.secrets.key_pair import (
    KeyPair,
    certificate_of,
    check_pair,
    decode_pem,
    encode_pem,
    roles_of,
    roles_of_peer,
)
from nodespan.resources.secrets import CertificateAndKey, OSRootSpec
from nodespan.runtime.certificate import Certificate
from nodespan.runtime.pem import standard_key
from tests.support.certificates import Authority

NOW = datetime.datetime.now(datetime.UTC)
AUTHORITY = new_authority(NOW)
ADDRESSES = (ip_address("10.0.0.1"), ip_address("fd00::1"))
NAMES = ("one", "one.example")


def handshake(
    directory: Path, server: KeyPair, client: KeyPair | None, name: str, authority: KeyPair = AUTHORITY
) -> bytes | None:
    """A real handshake of TLS, as apid's and talosctl's: both sides verify. Returns the client's certificate.

    Raises SSLError.
    """
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(*files(directory, "server", server))
    serving.load_verify_locations(cadata=authority.certificate.decode())
    serving.verify_mode = ssl.CERT_REQUIRED if client else ssl.CERT_NONE
    asking = ssl.create_default_context(cadata=authority.certificate.decode())
    if client:
        asking.load_cert_chain(*files(directory, "client", client))
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        serving.wrap_bio(up, down, server_side=True),
        asking.wrap_bio(down, up, server_hostname=name),
    ]
    for _ in range(4):
        for end in ends:
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()
    return ends[0].getpeercert(binary_form=True)


def alternative_names(certificate: Certificate) -> tuple[object, object]:
    return certificate.addresses, certificate.dns_names


def files(directory: Path, name: str, pair: KeyPair) -> tuple[Path, Path]:
    certificate, key = directory / f"{name}.crt", directory / f"{name}.key"
    certificate.write_bytes(pair.certificate)
    key.write_bytes(standard_key(pair.key))
    return certificate, key


def test_both_ends_of_a_connection_verify_each_other(tmp_path: Path) -> None:
    server = issue_server(AUTHORITY, "one.example", ADDRESSES, NAMES, NOW)
    client = issue_client(AUTHORITY, ["os:reader"], NOW)
    shown = handshake(tmp_path, server, client, "10.0.0.1")
    assert shown is not None
    assert roles_of_peer(shown) == ("os:reader",)
    with pytest.raises(ssl.SSLError, match="Hostname mismatch"):
        handshake(tmp_path, server, client, "two.example")
    with pytest.raises(ssl.SSLError, match=r"purpose|unsuitable"):
        handshake(tmp_path, server, server, "one.example")
    stranger = issue_client(new_authority(NOW), ["os:admin"], NOW)
    with pytest.raises(ssl.SSLError, match=r"verify failed|unknown ca"):
        handshake(tmp_path, server, stranger, "one.example")


def test_a_server_is_named_by_its_names() -> None:
    pair = issue_server(AUTHORITY, "one.example", ADDRESSES, NAMES, NOW)
    assert alternative_names(certificate_of(pair.certificate)) == (ADDRESSES, NAMES)
    check_pair(pair)


def test_a_client_has_the_roles_it_was_issued_for() -> None:
    pair = issue_client(AUTHORITY, ["os:admin", "os:reader"], NOW)
    certificate = load_certificate(pair.certificate)
    assert set(roles_of(certificate_of(pair.certificate))) == {"os:admin", "os:reader"}
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    certificate.verify_directly_issued_by(load_certificate(AUTHORITY.certificate))


def test_the_certificate_of_a_server_has_no_roles() -> None:
    assert roles_of(certificate_of(issue_server(AUTHORITY, "os:admin", ADDRESSES, NAMES, NOW).certificate)) == ()
    assert roles_of(certificate_of(AUTHORITY.certificate)) == ()


def test_a_request_is_signed_without_what_it_may_not_ask_for(tmp_path: Path) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    subject = [
        x509.NameAttribute(NameOID.COMMON_NAME, "two"),
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "os:admin"),
    ]
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name(subject))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName("one.example"), x509.RFC822Name("a@b.example")]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(key, None)
    )
    signed = sign_request(AUTHORITY, request.public_bytes(serialization.Encoding.PEM), NOW)
    certificate = load_certificate(signed)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    assert handshake(tmp_path, KeyPair(signed, pem), None, "one.example") is None
    assert roles_of(certificate_of(signed)) == ()
    assert certificate.subject.rfc4514_string() == "CN=two"
    assert alternative_names(certificate_of(signed)) == ((), ("one.example",))
    assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False


def test_a_request_of_ours_is_signed() -> None:
    request, key = new_request("one.example", ADDRESSES, NAMES)
    signed = sign_request(AUTHORITY, request, NOW)
    check_pair(KeyPair(signed, key))
    assert alternative_names(certificate_of(signed)) == (ADDRESSES, NAMES)


def test_nothing_outlives_the_authority() -> None:
    late = load_certificate(AUTHORITY.certificate).not_valid_after_utc - datetime.timedelta(hours=1)
    certificate = load_certificate(issue_server(AUTHORITY, "", ADDRESSES, NAMES, late).certificate)
    assert certificate.not_valid_after_utc == load_certificate(AUTHORITY.certificate).not_valid_after_utc


def test_authorities_of_other_kinds_sign_too() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "other")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + datetime.timedelta(days=9))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    pair = issue_client(KeyPair(certificate.public_bytes(serialization.Encoding.PEM), pem), ["os:reader"], NOW)
    assert roles_of(certificate_of(pair.certificate)) == ("os:reader",)


def test_what_an_authority_issues_names_its_key_as_the_authority_does(tmp_path: Path) -> None:
    key = load_key(AUTHORITY.key)
    known = load_certificate(AUTHORITY.certificate)
    # Go's programs take the SHA-256 of the key since 2025.
    identifier = x509.SubjectKeyIdentifier(b"\x07" * 20)
    builder = (
        x509.CertificateBuilder()
        .subject_name(known.subject)
        .issuer_name(known.subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + datetime.timedelta(days=9))
    )
    for extension in known.extensions:
        value = identifier if extension.oid == identifier.oid else extension.value
        builder = builder.add_extension(value, extension.critical)
    certificate = builder.sign(key, None)
    authority = KeyPair(certificate.public_bytes(serialization.Encoding.PEM), AUTHORITY.key)
    server = issue_server(authority, "one.example", ADDRESSES, NAMES, NOW)
    client = issue_client(authority, ["os:reader"], NOW)
    assert handshake(tmp_path, server, client, "one.example", authority) is not None
    root = OSRootSpec(issuing_ca=CertificateAndKey(crt=authority.certificate.decode()))
    assert is_of(server, root)
    assert not is_of(server, OSRootSpec(issuing_ca=CertificateAndKey(crt=AUTHORITY.certificate.decode())))


def test_keys_have_the_label_of_the_original_and_openssl_reads_the_standard_one() -> None:
    assert AUTHORITY.key.startswith(b"-----BEGIN ED25519 PRIVATE KEY-----")
    assert isinstance(load_key(AUTHORITY.key), ed25519.Ed25519PrivateKey)
    assert isinstance(load_key(standard_key(AUTHORITY.key)), ed25519.Ed25519PrivateKey)
    assert encode_pem(decode_pem(encode_pem(AUTHORITY.key))) == encode_pem(AUTHORITY.key)
    ssl.create_default_context(cadata=AUTHORITY.certificate.decode())


def pem_key(key: Any, word: bytes = b"") -> bytes:
    locked = serialization.BestAvailableEncryption(word) if word else serialization.NoEncryption()
    pem: bytes = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked)
    return pem


CURVE_KEY, X_KEY = ec.generate_private_key(ec.SECP256R1()), x25519.X25519PrivateKey.generate()
LOCKED_KEY = pem_key(CURVE_KEY, b"word")
OTHER = Authority("other")


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda: decode_pem("***"), "is not base64"),
        (lambda: decode_pem("A" * 100_000), "has more than"),
        (lambda: load_certificate(b""), "holds no certificate"),
        (lambda: load_certificate(AUTHORITY.certificate * 2), "holds 2 certificates"),
        (lambda: load_certificate(AUTHORITY.certificate[:200]), "holds no certificate"),
        (lambda: certificate_of(b""), "holds no certificate"),
        (lambda: certificate_of(AUTHORITY.certificate * 2), "holds 2 certificates"),
        (lambda: certificate_of(AUTHORITY.certificate[:200]), "holds no certificate"),
        (lambda: check_pair(KeyPair(b"x", AUTHORITY.key)), "holds no certificate"),
        (lambda: check_pair(KeyPair(AUTHORITY.certificate, b"x")), "holds no private key"),
        (lambda: check_pair(KeyPair(AUTHORITY.certificate, pem_key(CURVE_KEY))), "does not belong"),
        (lambda: check_pair(KeyPair(AUTHORITY.certificate, pem_key(X_KEY))), "of a kind that cannot sign"),
        (lambda: check_pair(KeyPair(AUTHORITY.certificate, LOCKED_KEY)), "holds no private key"),
        (lambda: check_issued(new_authority(NOW).certificate, AUTHORITY.certificate), "is of another authority"),
        (lambda: check_issued(OTHER.pem, issue_client(AUTHORITY, [], NOW).certificate), "cannot be used"),
        (lambda: load_key(b"-----BEGIN PRIVATE KEY-----\n"), "holds no private key"),
        (lambda: check_pair(KeyPair(AUTHORITY.certificate, new_authority(NOW).key)), "does not belong"),
        (lambda: issue_client(KeyPair(AUTHORITY.certificate), ["os:admin"], NOW), "key is not known here"),
        (lambda: sign_request(AUTHORITY, b"nonsense", NOW), "is no request"),
        (lambda: issue_server(AUTHORITY, "", (), ["bücher"], NOW), "cannot stand in a certificate"),
        (lambda: issue_server(AUTHORITY, "", (), ["a"], NOW + datetime.timedelta(days=4000)), "has expired"),
    ],
)
def test_what_cannot_be_used_says_why(act: object, words: str) -> None:
    assert callable(act)
    with pytest.raises(CertificateError) as caught:
        act()
    assert words in str(caught.value)


def test_a_name_that_is_too_long_for_a_subject_is_an_alternative_name_all_the_same() -> None:
    name = f"{'n' * 60}.example"
    request, _ = new_request(name, (), [name])
    for certificate in (
        issue_server(AUTHORITY, name, (), [name], NOW).certificate,
        sign_request(AUTHORITY, request, NOW),
    ):
        found = load_certificate(certificate)
        assert (found.subject.rfc4514_string(), alternative_names(certificate_of(certificate))) == ("", ((), (name,)))
