"""Certificates as they are read here, compared with how the library `cryptography` reads the same bytes."""

import datetime
import hashlib
from ipaddress import ip_address

import attrs
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

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
from nodespan.runtime.pem import certificate_blocks
from nodespan.runtime.system_roots import TrustError, system_roots

# The library warns of serial numbers below one, which old authorities have.
pytestmark = pytest.mark.filterwarnings("ignore:Parsed a serial number")
KEY = ed25519.Ed25519PrivateKey.from_private_bytes(b"k" * 32)
START = datetime.datetime(2026, 11, 30, 1, 2, 3, tzinfo=datetime.UTC)
OIDS = (NameOID.ORGANIZATION_NAME, NameOID.COMMON_NAME, NameOID.USER_ID, x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"))


def made(
    subject: x509.Name,
    *extensions: x509.ExtensionType,
    begins: datetime.datetime = START,
    ends: datetime.datetime = START + datetime.timedelta(days=1),
    key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey = KEY,
) -> bytes:
    """A certificate in DER form, of its own key."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(begins)
        .not_valid_after(ends)
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=isinstance(extension, x509.KeyUsage))
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, algorithm).public_bytes(serialization.Encoding.DER)


def name(*attributes: tuple[x509.ObjectIdentifier, str]) -> x509.Name:
    return x509.Name([x509.NameAttribute(kind, value) for kind, value in attributes])


def agrees(found: Certificate, expected: x509.Certificate) -> None:
    """Fail unless both say the same of a certificate."""
    assert str(found.subject) == expected.subject.rfc4514_string()
    assert str(found.issuer) == expected.issuer.rfc4514_string()
    assert found.subject.values(ORGANIZATION) == tuple(
        each.value for each in expected.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    )
    assert (found.not_before, found.not_after) == (expected.not_valid_before_utc, expected.not_valid_after_utc)
    assert (found.subject == found.issuer) is (expected.subject == expected.issuer)
    extensions = expected.extensions
    usages: tuple[str, ...] | None = None
    names: tuple[str, ...] = ()
    addresses: tuple[object, ...] = ()
    authority: bytes | None = None
    for extension in extensions:
        value = extension.value
        if isinstance(value, x509.ExtendedKeyUsage):
            usages = tuple(each.dotted_string for each in value)
        elif isinstance(value, x509.SubjectAlternativeName):
            names = tuple(value.get_values_for_type(x509.DNSName))
            addresses = tuple(value.get_values_for_type(x509.IPAddress))
        elif isinstance(value, x509.AuthorityKeyIdentifier):
            authority = value.key_identifier
    assert (found.usages, found.dns_names, found.addresses, found.authority_key) == (
        usages,
        names,
        addresses,
        authority,
    )


FULL = made(
    name((NameOID.ORGANIZATION_NAME, "os:admin"), (NameOID.COMMON_NAME, "one"), (NameOID.ORGANIZATION_NAME, "x")),
    x509.BasicConstraints(ca=False, path_length=None),
    x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]),
    x509.SubjectAlternativeName(
        [
            x509.DNSName("one.example"),
            x509.IPAddress(ip_address("10.0.0.1")),
            x509.RFC822Name("a@b.example"),
            x509.IPAddress(ip_address("fd00::1")),
        ]
    ),
    x509.SubjectKeyIdentifier.from_public_key(KEY.public_key()),
    x509.AuthorityKeyIdentifier.from_issuer_public_key(KEY.public_key()),
)


def test_what_is_read_of_a_certificate() -> None:
    found = read_certificate(FULL)
    assert found.subject.values(ORGANIZATION) == ("os:admin", "x")
    assert found.usages == (CLIENT_AUTH,)
    assert (found.dns_names, found.addresses) == (("one.example",), (ip_address("10.0.0.1"), ip_address("fd00::1")))
    assert (found.not_before, found.not_after) == (START, START + datetime.timedelta(days=1))
    assert found.authority_key == found.key_id
    agrees(found, x509.load_der_x509_certificate(FULL))
    assert read_certificates(b"text\n" + pem_of(FULL) + b"more\n" + pem_of(FULL)) == (found, found)


def test_keys_and_times_of_other_kinds() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    begins, ends = (datetime.datetime(year, 2, 28, 23, 59, 59, tzinfo=datetime.UTC) for year in (1950, 2400))
    der = made(name(), begins=begins, ends=ends, key=key)
    found = read_certificate(der)
    assert (str(found.subject), found.usages, found.authority_key) == ("", None, None)
    assert found.key_id == x509.SubjectKeyIdentifier.from_public_key(key.public_key()).digest
    agrees(found, x509.load_der_x509_certificate(der))


def test_the_authorities_of_this_system_are_read_as_by_the_library() -> None:
    try:
        blocks = certificate_blocks(system_roots().decode("ascii", "replace"))
    except TrustError:
        pytest.skip("the system has no certificate authorities")
    assert blocks
    for block in blocks:
        expected = x509.load_pem_x509_certificate(block.encode())
        (found,) = read_certificates(block.encode())
        agrees(found, expected)
        assert hashlib.sha256(found.der).digest() == expected.fingerprint(hashes.SHA256())
        assert pem_of(found.der) == expected.public_bytes(serialization.Encoding.PEM)


@given(st.lists(st.tuples(st.sampled_from(OIDS), st.text(min_size=1, max_size=30)), max_size=5))
def test_any_name_is_shown_as_by_the_library(attributes: list[tuple[x509.ObjectIdentifier, str]]) -> None:
    der = made(name(*attributes))
    agrees(read_certificate(der), x509.load_der_x509_certificate(der))


@given(st.data())
def test_of_damaged_certificates_the_same_is_read_as_by_the_library_or_nothing(data: st.DataObject) -> None:
    damaged = bytearray(FULL)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        kind = data.draw(st.sampled_from(("change", "insert", "remove", "cut")))
        if kind == "change":
            damaged[at] = data.draw(st.integers(0, 255))
        elif kind == "insert":
            damaged.insert(at, data.draw(st.integers(0, 255)))
        elif kind == "remove" and len(damaged) > 1:
            del damaged[at]
        else:
            del damaged[max(at, 1) :]
    try:
        found = read_certificate(bytes(damaged))
        expected = x509.load_der_x509_certificate(bytes(damaged))
        assert len(expected.extensions) <= 5
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        # The library also refuses what is not looked at here: the other extensions, parameters of algorithms.
        return
    agrees(found, expected)


RESTRICTED = made(
    name((NameOID.ORGANIZATION_NAME, "os:admin")),
    x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    ),
)
TWICE = made(
    x509.Name(
        [
            x509.RelativeDistinguishedName(
                [x509.NameAttribute(NameOID.COMMON_NAME, "aa"), x509.NameAttribute(NameOID.COMMON_NAME, "ab")]
            )
        ]
    )
).replace(b"ab", b"aa")


def test_what_der_does_not_allow_is_refused() -> None:
    inner = FULL[4:]
    for damaged in (
        b"",
        b"\x30",
        FULL[:-1],
        FULL + b"\0",
        b"\x30\x80" + inner + b"\0\0",
        b"\x30\x83\x00" + len(inner).to_bytes(2, "big") + inner,
        b"\x30\x84\xff\xff\xff\xff" + inner,
        b"\x3f\x81\x01" + inner,
        b"\x31" + FULL[1:],
        b"\0" * 70_000,
        # A length in more bytes than it needs, a truth that is neither, a number with a nought in front.
        FULL.replace(b"\x0c\x03one", b"\x0c\x81\x02on"),
        RESTRICTED.replace(b"\x01\x01\xff", b"\x01\x01\x01"),
        RESTRICTED.replace(b"\x02\x01\x01", b"\x02\x01\x01\x02\x01\x01", 1),
        # The same extension twice, the same attribute twice in one part of a name, two algorithms for one signature.
        FULL.replace(b"\x06\x03\x55\x1d\x25", b"\x06\x03\x55\x1d\x11"),
        TWICE,
        FULL.replace(b"\x06\x03\x2b\x65\x70", b"\x06\x03\x2b\x65\x71", 1),
    ):
        assert damaged not in (FULL, RESTRICTED)
        with pytest.raises(CertificateFormatError):
            read_certificate(damaged)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        # Damaged names of algorithms: the key's, and the signature's in both places.
        (b"\x30\x05\x06\x03\x2b\x65\x70\x03\x21", b"\x30\x05\x07\x03\x2b\x65\x70\x03\x21"),
        (b"\x06\x03\x2b\x65\x70", b"\x06\x08\x2b\x65\x70"),
    ],
)
def test_what_openssl_does_not_take_is_not_usable(before: bytes, after: bytes) -> None:
    found = read_certificate(FULL)
    check_usable(found)
    assert before in FULL
    with pytest.raises(CertificateFormatError, match="OpenSSL does not take"):
        check_usable(attrs.evolve(found, der=FULL.replace(before, after)))


def test_an_authority_is_known_by_the_identifier_that_it_gives_itself() -> None:
    given = made(name(), x509.SubjectKeyIdentifier(b"of its own"))
    assert read_certificate(given).key_id == b"of its own"


def test_texts_without_one_certificate_or_with_too_many_are_refused() -> None:
    for text, words in (
        (b"", "there is no certificate"),
        (pem_of(FULL) * 3, "there are 3 certificates, not 2"),
        (pem_of(FULL).replace(b"M", b"*"), "not in base64"),
        (pem_of(FULL)[:-30], "has no end"),
    ):
        with pytest.raises(ValueError, match=words):
            read_certificates(text, most=2)
