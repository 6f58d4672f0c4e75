"""secrets.APIController: the certificate that this node's API shows, renewed at half its life."""

import datetime
from collections.abc import Callable
from ipaddress import ip_address
from typing import Protocol

import trio
from cryptography import x509

from nodespan.controllers.secrets.authority import (
    SERVER_LIFETIME,
    CertificateError,
    KeyPair,
    alternative_names,
    issue_server,
    load_certificate,
    standard_key,
)
from nodespan.resources.secrets import (
    API_ID,
    OS_ROOT_ID,
    APICertificate,
    APICertificateSpec,
    CertificateAndKey,
    CertSAN,
    CertSANSpec,
    OSRoot,
    OSRootSpec,
)
from nodespan.runtime.controller import Controller, ControllerContext, exclusive, weak

# Seconds between two looks at the clock, which may step; and after an issuer could not be reached.
_LOOK = 60.0
Now = Callable[[], datetime.datetime]


class IssuerError(Exception):
    """No certificate can be had at present; the text says why."""


class Issuer(Protocol):
    """Gets certificates for a node that does not have the authority's key."""

    async def issue(self, root: OSRootSpec, sans: CertSANSpec) -> KeyPair:
        """A certificate for these names. Raises IssuerError."""
        ...


def utc_now() -> datetime.datetime:
    """The wall time, as certificates count it."""
    return datetime.datetime.now(datetime.UTC)


def self_issued(root: OSRootSpec, sans: CertSANSpec, now: datetime.datetime) -> KeyPair:
    """A certificate by the authority's key, which is here."""
    authority = KeyPair(root.issuing_ca.crt.encode(), root.issuing_ca.key.encode())
    return issue_server(authority, sans.fqdn, map(ip_address, sans.ips), sans.dns_names, now)


def is_current(pair: KeyPair, root: OSRootSpec, sans: CertSANSpec, now: datetime.datetime) -> bool:
    """Whether a certificate is of this authority, for all these names, and within the first half of its life."""
    certificate = load_certificate(pair.certificate)
    issuer = load_certificate(root.issuing_ca.crt.encode())
    addresses, names = alternative_names(certificate)
    return (
        certificate.issuer == issuer.subject
        and _key_id(certificate) == _authority_id(issuer)
        and {str(address) for address in addresses} >= set(sans.ips)
        and set(names) >= set(sans.dns_names)
        and certificate.not_valid_before_utc <= now < renewal_time(certificate)
    )


def renewal_time(certificate: x509.Certificate) -> datetime.datetime:
    """When to replace a certificate: at half its life, as the original does."""
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return start + (end - start) / 2


def _key_id(certificate: x509.Certificate) -> bytes | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    except x509.ExtensionNotFound:
        return None


def _authority_id(issuer: x509.Certificate) -> bytes:
    return x509.SubjectKeyIdentifier.from_public_key(issuer.public_key()).digest


class APIController(Controller):
    """Writes `api` while there is an authority: issued here if its key is, else by `issuer`."""

    name = "secrets.APIController"
    inputs = (weak(OSRoot, OS_ROOT_ID), weak(CertSAN, API_ID))
    outputs = (exclusive(APICertificate),)

    def __init__(self, issuer: Issuer, *, now: Now = utc_now) -> None:
        self._issuer = issuer
        self._now = now
        self._pair: KeyPair | None = None
        self._last_error = ""

    async def run(self, ctx: ControllerContext) -> None:
        """Follow the authority, the names and the clock."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._look, ctx)
            async for _ in ctx:
                async with ctx.tracked_outputs(APICertificate):
                    root, sans = ctx.find(OSRoot, OS_ROOT_ID), ctx.find(CertSAN, API_ID)
                    if root is None or sans is None:
                        self._pair = None
                        continue
                    pair = await self._current(ctx, root.spec, sans.spec)
                    if pair is not None:
                        await ctx.put(APICertificate, API_ID, _spec(root.spec, pair))

    async def _current(self, ctx: ControllerContext, root: OSRootSpec, sans: CertSANSpec) -> KeyPair | None:
        """The certificate to show; the present one as long as no better one can be had."""
        now = self._now()
        if self._pair is not None and is_current(self._pair, root, sans, now):
            return self._pair
        try:
            if root.issuing_ca.key:
                pair = self_issued(root, sans, now)
            else:
                pair = await self._issuer.issue(root, sans)
        except (IssuerError, CertificateError) as error:
            if str(error) != self._last_error:
                self._last_error = str(error)
                ctx.log.warning("no certificate for the API", error=str(error))
            return self._pair if self._pair is not None and _is_of(self._pair, root) else None
        self._pair, self._last_error = pair, ""
        return pair

    async def _look(self, ctx: ControllerContext) -> None:
        while True:
            await trio.sleep(_LOOK)
            if ctx.find(OSRoot, OS_ROOT_ID) is not None:
                ctx.wake()


def _is_of(pair: KeyPair, root: OSRootSpec) -> bool:
    issuer = load_certificate(root.issuing_ca.crt.encode())
    return _key_id(load_certificate(pair.certificate)) == _authority_id(issuer)


def _spec(root: OSRootSpec, pair: KeyPair) -> APICertificateSpec:
    return APICertificateSpec(
        accepted_cas=root.accepted_cas,
        server=CertificateAndKey(crt=pair.certificate.decode(), key=standard_key(pair.key).decode()),
        expires=load_certificate(pair.certificate).not_valid_after_utc,
    )


__all__ = ["SERVER_LIFETIME", "APIController", "Issuer", "IssuerError", "Now", "is_current", "renewal_time", "utc_now"]
