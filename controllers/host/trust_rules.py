"""The certificate authorities added by the configuration, and their file names on the machine: pure rules.

They come from TrustedRootsConfig documents, and from what `machine.files` appends to the bundle of the originals, by
any of the names that it has on the distributions.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator

import attrs

from nodespan.resources.config import MachineConfigSpec, TrustedRootsConfig
from nodespan.resources.config.main import MachineFile
from nodespan.runtime.certificate import check_usable, der_of_block, pem_of, read_certificate
from nodespan.runtime.pem import PEMError, certificate_blocks

# The first is used by Talos only.
BUNDLE_PATHS = frozenset(
    {
        "/etc/ssl/certs/ca-certificates",
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/tls/certs/ca-bundle.crt",
        "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
        "/etc/ssl/ca-bundle.pem",
        "/etc/ssl/cert.pem",
    }
)
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9_.-]+")


@attrs.frozen(kw_only=True)
class TrustedCertificate:
    """One certificate: subject, SHA-256 fingerprint in hexadecimal, and PEM."""

    subject: str
    fingerprint: str
    pem: str = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class TrustEntry:
    """One entry of the configuration: its certificates, or why it cannot be used."""

    name: str
    source: str
    certificates: tuple[TrustedCertificate, ...] = ()
    error: str = ""


def is_trust(file: MachineFile) -> bool:
    """Whether an entry of `machine.files` stands for certificate authorities to be added."""
    return file.op == "append" and file.path in BUNDLE_PATHS


def file_entry_name(index: int) -> str:
    """The name for the certificates of an entry of `machine.files`."""
    return f"machine-files-{index}"


def trust_entries(config: MachineConfigSpec) -> Iterator[TrustEntry]:
    """The entries, in the order of the configuration."""
    for index, file in enumerate(config.machine.files):
        if is_trust(file):
            yield _entry(file_entry_name(index), f"machine.files[{index}]", file.content)
    for document in config.documents_of(TrustedRootsConfig):
        yield _entry(document.name, "TrustedRootsConfig", document.certificates)


def _entry(name: str, source: str, text: str) -> TrustEntry:
    try:
        return TrustEntry(name=name, source=source, certificates=tuple(parse_certificates(text)))
    except ValueError as error:
        return TrustEntry(name=name, source=source, error=str(error))


def parse_certificates(text: str) -> Iterator[TrustedCertificate]:
    """The certificates of a PEM text, which may hold anything in between. Raises ValueError that says what is wrong."""
    try:
        blocks = certificate_blocks(text)
    except PEMError as error:
        raise ValueError(f"{error}: copy the certificates again, with every line of them") from error
    if not blocks:
        raise ValueError("it holds no certificate: expected -----BEGIN CERTIFICATE----- and what follows")
    for number, block in enumerate(blocks, start=1):
        try:
            certificate = read_certificate(der_of_block(block))
            check_usable(certificate)
        except ValueError as error:
            raise ValueError(
                f"certificate {number} of {len(blocks)} is damaged: copy it again, with every line of it"
            ) from error
        yield TrustedCertificate(
            subject=str(certificate.subject),
            fingerprint=hashlib.sha256(certificate.der).hexdigest(),
            pem=pem_of(certificate.der).decode(),
        )


def anchor_files(entries: Iterable[TrustEntry], suffix: str) -> dict[str, str]:
    """The certificates as files of one each, every certificate once: PEM by `nodespan-<name>.crt`."""
    files: dict[str, str] = {}
    seen: set[str] = set()
    for entry in entries:
        stem = f"nodespan-{_NOT_IN_A_NAME.sub('-', entry.name)}"
        for certificate in entry.certificates:
            if certificate.fingerprint in seen:
                continue
            seen.add(certificate.fingerprint)
            name, number = f"{stem}{suffix}", 2
            while name in files:
                name, number = f"{stem}-{number}{suffix}", number + 1
            files[name] = certificate.pem
    return files


def combined_bundle(system: bytes, entries: Iterable[TrustEntry]) -> bytes:
    """The bundle of the system, and what is added to it unless it is there already."""
    known = {block.replace(b"\r", b"") for block in _PEM.findall(system)}
    text = system
    for pem in anchor_files(entries, "").values():
        if pem.encode().strip() not in known:
            text += (b"" if not text or text.endswith(b"\n") else b"\n") + pem.encode()
    return text


def bundle_digest(bundle: bytes) -> str:
    """The same for bundles of the same certificates, whatever their order."""
    blocks = sorted({block.replace(b"\r", b"") for block in _PEM.findall(bundle)})
    return hashlib.sha256(b"\n".join(blocks)).hexdigest()
