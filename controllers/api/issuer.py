"""Gets the certificate of a node without the authority's key from the trust service of a control plane."""

from collections.abc import Sequence
from functools import partial
from typing import Final

from nodespan.controllers.api.security import CERTIFICATE, TOKEN_FIELD
from nodespan.controllers.secrets.errors import CertificateError, IssuerError
from nodespan.controllers.secrets.issuing import check, prepare
from nodespan.controllers.secrets.key_pair import KeyPair
from nodespan.resources.secrets import CertSANSpec, OSRootSpec
from nodespan.resources.wire import security_pb2 as wire
from nodespan.runtime.api.grpc.client import (
    CallError,
    ChannelOptions,
    Endpoint,
    TrustError,
    client_context,
    open_channel,
)
from nodespan.runtime.process.errand import Errand, errand

TRUST_PORT: Final = 50001
_TIMEOUT = 20.0
# So that some that are out of reach do not use up the time for all.
_OPTIONS: Final = ChannelOptions(connect_timeout=3.0)


class TrustService:
    """Asks the control planes, one after the other. `port` is where their trust services are.

    `errand` makes the request, and checks what was issued.
    """

    def __init__(self, *, port: int = TRUST_PORT, errand: Errand = errand) -> None:
        self._port = port
        self._errand = errand
        # The request for these names, and its key, until there is a certificate for it.
        self._prepared: tuple[CertSANSpec, bytes, bytes] | None = None

    async def issue(self, root: OSRootSpec, sans: CertSANSpec, control_planes: Sequence[str]) -> KeyPair:
        """A certificate for these names. Waits for at most 20 s, and for the errands; raises IssuerError."""
        if not root.token:
            raise IssuerError("machine.token is not set, which the control plane wants to see")
        if not control_planes:
            raise IssuerError("no control plane is known yet that could issue a certificate")
        try:
            if self._prepared is None or self._prepared[0] != sans:
                self._prepared = (sans, *await prepare(self._errand, sans))
            _, request, key = self._prepared
        except CertificateError as error:
            raise IssuerError(str(error)) from error
        endpoints = [Endpoint(host=host, port=self._port) for host in control_planes]
        tls = partial(client_context, roots="\n".join(root.accepted_cas).encode())
        try:
            async with open_channel(endpoints, tls=tls, options=_OPTIONS) as channel:
                answer = await channel.unary(
                    CERTIFICATE,
                    wire.CertificateRequest(csr=request),
                    wire.CertificateResponse.FromString,
                    timeout=_TIMEOUT,
                    metadata=[(TOKEN_FIELD, root.token)],
                )
            pair = KeyPair(answer.crt, key)
            await check(self._errand, pair, root.issuing_ca.crt)
        except (CallError, TrustError) as error:
            raise IssuerError(f"no control plane issues a certificate: {error}") from error
        except CertificateError as error:
            raise IssuerError(f"a control plane issued a certificate that cannot be used: it {error}") from error
        self._prepared = None
        return pair
