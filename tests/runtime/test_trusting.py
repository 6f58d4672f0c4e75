"""Whom clients trust does not depend on the version of Python."""

import datetime
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from nodespan.runtime.trusting import trusting

NAME = "server.example"


Keys = tuple[ec.EllipticCurvePrivateKey, ec.EllipticCurvePrivateKey, ec.EllipticCurvePrivateKey]


def certified(
    subject: str,
    issuer: str,
    key: ec.EllipticCurvePrivateKey,
    by: ec.EllipticCurvePrivateKey,
    *,
    is_authority: bool = False,
) -> bytes:
    """A certificate with a name, and no word on what its key is for."""
    now = datetime.datetime.now(datetime.UTC)
    one = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(subject)]), critical=False)
        .sign(by, hashes.SHA256())
    )
    return one.public_bytes(serialization.Encoding.PEM)


@pytest.fixture
def keys() -> Keys:
    first, second, third = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
    return first, second, third


@pytest.fixture
def strict(monkeypatch: pytest.MonkeyPatch) -> None:
    """The defaults of Python 3.13 on every version."""
    make = ssl.create_default_context

    def of_3_13(*, cafile: Path | None) -> ssl.SSLContext:
        context = make(cafile=cafile)
        context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
        return context

    monkeypatch.setattr(ssl, "create_default_context", of_3_13)


def shake_hands(place: Path, certificate: bytes, key: ec.EllipticCurvePrivateKey, trusted: bytes) -> None:
    """What a client and a server do, until the client knows whether it trusts. Raises SSLCertVerificationError."""
    (place / "ca.pem").write_bytes(trusted)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (place / "server.pem").write_bytes(certificate + pem)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(place / "server.pem")
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = serving.wrap_bio(to_server, to_client, server_side=True)
    client = trusting(place / "ca.pem").wrap_bio(to_client, to_server, server_hostname=NAME)
    for end in (client, server):
        with pytest.raises(ssl.SSLWantReadError):
            end.do_handshake()
    client.do_handshake()
    assert client.getpeercert()


@pytest.mark.usefixtures("strict")
def test_an_authority_that_does_not_say_what_its_key_is_for_is_trusted(tmp_path: Path, keys: Keys) -> None:
    authority, _, key = keys
    shake_hands(
        tmp_path,
        certified(NAME, "root", key, authority),
        key,
        certified("root", "root", authority, authority, is_authority=True),
    )


@pytest.mark.usefixtures("strict")
def test_an_authority_without_the_one_that_has_certified_it_is_not(tmp_path: Path, keys: Keys) -> None:
    root, middle, key = keys
    with pytest.raises(ssl.SSLCertVerificationError, match="unable to get issuer certificate"):
        shake_hands(
            tmp_path,
            certified(NAME, "middle", key, middle),
            key,
            certified("middle", "root", middle, root, is_authority=True),
        )


def test_no_other_settings_of_clients_follow_the_version_of_python() -> None:
    top = Path(__file__).parents[2]
    found = [
        str(file.relative_to(top))
        for folder in ("cluster", "controllers", "discovery", "etcd", "kernel", "resources", "runtime")
        for file in (top / folder).rglob("*.py")
        if "create_default_context" in file.read_text()
    ]
    assert found == ["runtime/trusting.py"]
