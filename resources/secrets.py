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
    """A certificate and its key."""

    crt: str = ""
    """The certificate as PEM."""
    key: str = attrs.field(default="", repr=False)
    """The key as PEM, "" if it is not known."""


@attrs.frozen(kw_only=True)
class OSRootSpec:
    """The authority that issues the certificates of the API, on control planes with its key, and what is configured."""

    issuing_ca: CertificateAndKey = attrs.field(default=CertificateAndKey(), metadata=wire("issuingCA"))
    """The authority that issues certificates."""
    accepted_cas: tuple[str, ...] = attrs.field(default=(), metadata=wire("acceptedCAs"))
    """The authorities of clients as PEM; the issuing one is among them."""
    cert_san_ips: tuple[str, ...] = attrs.field(default=(), metadata=wire("certSANIPs"))
    """Further addresses of this machine for its certificate."""
    cert_san_dns_names: tuple[str, ...] = attrs.field(default=(), metadata=wire("certSANDNSNames"))
    """Further names of this machine for its certificate."""
    token: str = attrs.field(default="", repr=False)
    """What a machine shows that asks for a certificate."""


@attrs.frozen(kw_only=True)
class CertSANSpec:
    """The addresses and names that the certificate of the API is for."""

    ips: tuple[str, ...] = ()
    """The addresses."""
    dns_names: tuple[str, ...] = ()
    """The names."""
    fqdn: str = ""
    """The common name of the certificate."""


@attrs.frozen(kw_only=True)
class APICertificateSpec:
    """The certificates of the API."""

    accepted_cas: tuple[str, ...] = attrs.field(default=(), metadata=wire("acceptedCAs"))
    """The authorities whose clients are accepted, as PEM."""
    client: CertificateAndKey = CertificateAndKey()
    """What the node shows to others when it asks them for its clients; only control planes have it."""
    server: CertificateAndKey = CertificateAndKey()
    """The server's certificate and key."""
    expires: datetime.datetime | None = None
    """When the server's certificate ends; it is replaced at half its life."""


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
