"""The secrets of the node's API: its authority, the names it answers at, its certificate.

The kinds are the original's (with its names, ids and keys), and so is the namespace, which trust shares.
"""

import datetime

import attrs

from nodespan.resources.trust import NAMESPACE
from nodespan.runtime.resource import ResourceType, wire

OS_ROOT_ID = "os"
API_ID = "api"


@attrs.frozen(kw_only=True)
class CertificateAndKey:
    """A certificate and its key as PEM; the key may be unknown, which is empty."""

    crt: str = ""
    key: str = attrs.field(default="", repr=False)


@attrs.frozen(kw_only=True)
class OSRootSpec:
    """The authority that issues the certificates of the API, on control planes with its key, and what is configured.

    `accepted_cas` are the PEM texts of authorities of clients; the issuing one is among them. `token` is what a
    machine shows that asks for a certificate.
    """

    issuing_ca: CertificateAndKey = attrs.field(default=CertificateAndKey(), metadata=wire("issuingCA"))
    accepted_cas: tuple[str, ...] = attrs.field(default=(), metadata=wire("acceptedCAs"))
    cert_san_ips: tuple[str, ...] = attrs.field(default=(), metadata=wire("certSANIPs"))
    cert_san_dns_names: tuple[str, ...] = attrs.field(default=(), metadata=wire("certSANDNSNames"))
    token: str = attrs.field(default="", repr=False)


@attrs.frozen(kw_only=True)
class CertSANSpec:
    """The addresses and names that the certificate of the API is for. `fqdn` is its common name."""

    ips: tuple[str, ...] = ()
    dns_names: tuple[str, ...] = ()
    fqdn: str = ""


@attrs.frozen(kw_only=True)
class APICertificateSpec:
    """The server's certificate and key, and the authorities whose clients are accepted, all as PEM.

    `client` is what the node shows to others when it asks for its clients; only control planes have it.
    `expires` is when the certificate ends; it is replaced at half its life.
    """

    accepted_cas: tuple[str, ...] = attrs.field(default=(), metadata=wire("acceptedCAs"))
    client: CertificateAndKey = CertificateAndKey()
    server: CertificateAndKey = CertificateAndKey()
    expires: datetime.datetime | None = None


OSRoot = ResourceType("OSRoots.secrets.talos.dev", OSRootSpec, namespace=NAMESPACE, sensitive=True)
CertSAN = ResourceType("CertSANs.secrets.talos.dev", CertSANSpec, namespace=NAMESPACE)
APICertificate = ResourceType(
    "ApiCertificates.secrets.talos.dev", APICertificateSpec, namespace=NAMESPACE, sensitive=True
)

__all__ = [
    "API_ID",
    "NAMESPACE",
    "OS_ROOT_ID",
    "APICertificate",
    "APICertificateSpec",
    "CertSAN",
    "CertSANSpec",
    "CertificateAndKey",
    "OSRoot",
    "OSRootSpec",
]
