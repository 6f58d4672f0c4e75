"""Who calls: the roles of a client, by its certificate alone."""

import functools

from nodespan.controllers.secrets.key_pair import roles_of_peer
from nodespan.runtime.api.cosi.roles import IMPERSONATOR, Roles
from nodespan.runtime.api.grpc import Call, Code, RPCError
from nodespan.runtime.certificate import CertificateFormatError

ROLE_FIELD = "talos-role"


def client_roles(call: Call) -> Roles:
    """The roles of the client of a call, for whom another node asks if that acts for others. Raises RPCError."""
    if call.peer.certificate is None:
        raise RPCError(Code.UNAUTHENTICATED, "no certificate was shown")
    try:
        roles = _roles(call.peer.certificate)
    except CertificateFormatError as error:
        raise RPCError(Code.UNAUTHENTICATED, f"your certificate cannot be read: {error}") from error
    if IMPERSONATOR in roles:
        return frozenset(value for name, value in call.metadata if name == ROLE_FIELD)
    return roles


def require(call: Call, allowed: Roles) -> None:
    """Raise RPCError unless the client has one of the roles."""
    if not client_roles(call) & allowed:
        raise RPCError(Code.PERMISSION_DENIED, "not authorized")


@functools.lru_cache(maxsize=1024)
def _roles(certificate: bytes) -> Roles:
    return frozenset(roles_of_peer(certificate))
