"""The certificate of a node's API: when it is current, and how one is issued here."""

import datetime
from ipaddress import ip_address

from cryptography import x509

from nodespan.controllers.secrets.authority import (
    SERVER_LIFETIME,
    KeyPair,
    alternative_names,
    issue_client,
    issue_server,
    load_certificate,
)
from nodespan.resources.secrets import APICertificateSpec, CertificateAndKey, CertSANSpec, OSRootSpec
from nodespan.runtime.pem import standard_key

# The role of a node that asks others for its clients.
_FOR_CLIENTS = "os:impersonator"


def self_issued(root: OSRootSpec, sans: CertSANSpec, now: datetime.datetime) -> KeyPair:
    """A certificate by the authority's key, which is here. Raises CertificateError."""
    return issue_server(_authority(root), sans.fqdn, map(ip_address, sans.ips), sans.dns_names, now)


def is_current(pair: KeyPair, root: OSRootSpec, sans: CertSANSpec, now: datetime.datetime) -> bool:
    """Whether a certificate is of this authority, for all these names, and within the first half of its life."""
    certificate = load_certificate(pair.certificate)
    addresses, names = alternative_names(certificate)
    return (
        is_of(pair, root)
        and {str(address) for address in addresses} >= set(sans.ips)
        and set(names) >= set(sans.dns_names)
        and certificate.not_valid_before_utc <= now < renewal_time(certificate)
    )


def is_of(pair: KeyPair, root: OSRootSpec) -> bool:
    """Whether a certificate is of this authority."""
    issuer = load_certificate(root.issuing_ca.crt.encode())
    expected = x509.SubjectKeyIdentifier.from_public_key(issuer.public_key()).digest
    certificate = load_certificate(pair.certificate)
    try:
        found = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    except x509.ExtensionNotFound:
        return False
    return certificate.issuer == issuer.subject and found == expected


def renewal_time(certificate: x509.Certificate) -> datetime.datetime:
    """When to replace a certificate: at half its life, as the original does."""
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return start + (end - start) / 2


def certificate_spec(root: OSRootSpec, pair: KeyPair, now: datetime.datetime) -> APICertificateSpec:
    """What is published with a new certificate."""
    client = KeyPair(b"")
    if root.issuing_ca.key:
        client = issue_client(_authority(root), [_FOR_CLIENTS], now, SERVER_LIFETIME)
    return APICertificateSpec(
        accepted_cas=root.accepted_cas,
        client=_texts(client),
        server=_texts(pair),
        expires=load_certificate(pair.certificate).not_valid_after_utc,
    )


def _authority(root: OSRootSpec) -> KeyPair:
    return KeyPair(root.issuing_ca.crt.encode(), root.issuing_ca.key.encode())


def _texts(pair: KeyPair) -> CertificateAndKey:
    return CertificateAndKey(crt=pair.certificate.decode(), key=standard_key(pair.key).decode())
