"""The certificate of a node's API: when it is current, and what is published with it."""

import datetime
from typing import Final

from nodespan.controllers.secrets.key_pair import KeyPair, certificate_of
from nodespan.resources.secrets import APICertificateSpec, CertificateAndKey, CertSANSpec, OSRootSpec
from nodespan.runtime.certificate import Certificate
from nodespan.runtime.pem import standard_key

# The role of a node that asks others for its clients.
FOR_CLIENTS: Final = "os:impersonator"
NO_CLIENT: Final = KeyPair(b"")


def is_current(
    pair: KeyPair, root: OSRootSpec, sans: CertSANSpec, now: datetime.datetime, *, issued_by: str = ""
) -> bool:
    """Whether a certificate is of this authority (see `is_of`), for all names, and in the first half of its life."""
    certificate = certificate_of(pair.certificate)
    return (
        is_of(pair, root, issued_by=issued_by)
        and {str(address) for address in certificate.addresses} >= set(sans.ips)
        and set(certificate.dns_names) >= set(sans.dns_names)
        and certificate.not_before <= now < renewal_time(certificate)
    )


def is_of(pair: KeyPair, root: OSRootSpec, *, issued_by: str = "") -> bool:
    """Whether a certificate is of this authority. `issued_by` is the one (PEM) that it was issued by, if known.

    A certificate need not identify the key that it is signed with: Go's do not where the authority does not identify
    it. Of another authority's certificate such a one is not, even if that has the same name.
    """
    if issued_by == root.issuing_ca.crt:
        return True
    issuer, certificate = certificate_of(root.issuing_ca.crt.encode()), certificate_of(pair.certificate)
    return certificate.issuer == issuer.subject and certificate.authority_key == issuer.key_id


def renewal_time(certificate: Certificate) -> datetime.datetime:
    """When to replace a certificate: at half its life, as the original does."""
    return certificate.not_before + (certificate.not_after - certificate.not_before) / 2


def certificate_spec(root: OSRootSpec, server: KeyPair, client: KeyPair) -> APICertificateSpec:
    """What is published with a new certificate; `client` is for a node that asks others for its clients."""
    return APICertificateSpec(
        accepted_cas=root.accepted_cas,
        client=_texts(client),
        server=_texts(server),
        expires=certificate_of(server.certificate).not_after,
    )


def _texts(pair: KeyPair) -> CertificateAndKey:
    return CertificateAndKey(crt=pair.certificate.decode(), key=standard_key(pair.key).decode())
