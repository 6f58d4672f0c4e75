"""`securityapi.SecurityService`: certificates for nodes that know the token, but not the authority's key.

Taken over from the original's trust service is what its nodes call: one method, the token in the metadata, a request
in, the authority and a certificate out. As there it has a port of its own, where clients show no certificate.
"""

import datetime
import hmac
from collections.abc import Callable
from typing import Final

from nodespan.controllers.secrets.errors import CertificateError
from nodespan.controllers.secrets.key_pair import KeyPair
from nodespan.resources.secrets import OSRootSpec
from nodespan.resources.wire import security_pb2 as wire
from nodespan.runtime.api.grpc import Call, Code, Method, RPCError, unary
from nodespan.runtime.controller import Logger
from nodespan.runtime.loading import load

CERTIFICATE: Final = "/securityapi.SecurityService/Certificate"
TOKEN_FIELD: Final = "token"  # noqa: S105  # the name of a field


def security_methods(
    root: Callable[[], OSRootSpec | None], now: Callable[[], datetime.datetime], log: Logger
) -> tuple[Method, ...]:
    """The methods of the service. `root` is the authority as it is now."""

    async def certificate(request: wire.CertificateRequest, call: Call) -> wire.CertificateResponse:
        current = root()
        if current is None or not (current.token and current.issuing_ca.key):
            raise RPCError(Code.UNAVAILABLE, "this node issues no certificates")
        if not hmac.compare_digest((call.header(TOKEN_FIELD) or "").encode(), current.token.encode()):
            raise RPCError(Code.UNAUTHENTICATED, "the token is not that of this cluster")
        # Not by an errand: when a mesh starts, all its nodes come at once.
        await load("nodespan.controllers.secrets.authority")
        from nodespan.controllers.secrets.authority import sign_request

        authority = KeyPair(current.issuing_ca.crt.encode(), current.issuing_ca.key.encode())
        try:
            issued = sign_request(authority, request.csr, now())
        except CertificateError as error:
            raise RPCError(Code.INVALID_ARGUMENT, f"the request {error}") from error
        log.info("a certificate was issued", peer=str(call.peer))
        return wire.CertificateResponse(ca=authority.certificate, crt=issued)

    return (unary(CERTIFICATE, wire.CertificateRequest, certificate),)
