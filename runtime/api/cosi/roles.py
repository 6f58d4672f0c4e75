"""What a client may do: its roles, where they come from, and the access rule that follows.

    role                             may
    os:admin                         read everything, write
    os:operator, os:reader           read, except sensitive types
    any other, none                  nothing

The roles of a client are the organizations of its certificate. One that acts for others (os:impersonator) has the roles
that it names in the metadata of a call, in a field chosen where the server is composed. On a unix socket the mode of
the file decides who may connect, and who may is an administrator.
"""

import functools
from collections.abc import Callable

from cryptography import x509
from cryptography.x509.oid import NameOID

from nodespan.runtime.api.access import check_registered
from nodespan.runtime.api.grpc import Call, Code, RPCError
from nodespan.runtime.errors import AccessError
from nodespan.runtime.resource import Pointer
from nodespan.runtime.state.base import State
from nodespan.runtime.state.filtered import Rule, Verb

ADMIN = "os:admin"
OPERATOR = "os:operator"
READER = "os:reader"
IMPERSONATOR = "os:impersonator"
Roles = frozenset[str]
# The roles of the client of a call. Raises RPCError for a client that has no business here.
Authorizer = Callable[[Call], Roles]

_READERS = frozenset({ADMIN, OPERATOR, READER})


def local_roles(call: Call) -> Roles:
    """Those of a client on a unix socket: an administrator's. Raises RPCError for others."""
    if call.peer.address is not None:
        raise RPCError(Code.UNAUTHENTICATED, "no certificate was shown")
    return frozenset({ADMIN})


def certificate_roles(role_field: str) -> Authorizer:
    """Those of the client's certificate, which TLS has verified; a client without one is refused.

    `role_field` is the field of the metadata in which a client that acts for others names roles.
    """

    def authorize(call: Call) -> Roles:
        if call.peer.certificate is None:
            raise RPCError(Code.UNAUTHENTICATED, "no certificate was shown")
        roles = _organizations(call.peer.certificate)
        if IMPERSONATOR in roles:
            return frozenset(value for name, value in call.metadata if name == role_field)
        return roles

    return authorize


@functools.lru_cache(maxsize=1024)
def _organizations(certificate: bytes) -> Roles:
    subject = x509.load_der_x509_certificate(certificate).subject
    return frozenset(str(each.value) for each in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME))


def role_rule(state: State, roles: Roles) -> Rule:
    """The access rule for a client with these roles: see the head of this module."""

    def rule(pointer: Pointer[object], verb: Verb) -> None:
        kind = {"namespace": pointer.namespace, "type": pointer.type}
        if not roles & _READERS:
            raise AccessError(f"one of the roles {', '.join(sorted(_READERS))} is needed", **kind)
        if not verb.only_reads and ADMIN not in roles:
            raise AccessError(f"{pointer.kind} can only be written with the role {ADMIN}", **kind)
        definition = check_registered(state, pointer)
        if definition.sensitivity and ADMIN not in roles:
            raise AccessError(f"{pointer.type} is sensitive: the role {ADMIN} is needed", **kind)

    return rule
