"""What a client may do: its roles, where they come from, and the access rule that follows.

    role                             may
    os:admin                         read everything, write
    os:operator, os:reader           read, except sensitive types
    any other, none                  nothing

Who finds the roles of a client is up to who composes the server (`Authorizer`): on the network a certificate says them.
On a unix socket the mode of the file decides who may connect, and who may is an administrator.
"""

from collections.abc import Callable

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

READERS = frozenset({ADMIN, OPERATOR, READER})


def local_roles(call: Call) -> Roles:
    """Those of a client on a unix socket: an administrator's. Raises RPCError for others."""
    if call.peer.address is not None:
        raise RPCError(Code.UNAUTHENTICATED, "no certificate was shown")
    return frozenset({ADMIN})


def role_rule(state: State, roles: Roles) -> Rule:
    """The access rule for a client with these roles: see the head of this module."""

    def rule(pointer: Pointer[object], verb: Verb) -> None:
        kind = {"namespace": pointer.namespace, "type": pointer.type}
        if not roles & READERS:
            raise AccessError(f"one of the roles {', '.join(sorted(READERS))} is needed", **kind)
        if not verb.only_reads and ADMIN not in roles:
            raise AccessError(f"{pointer.kind} can only be written with the role {ADMIN}", **kind)
        definition = check_registered(state, pointer)
        if definition.sensitivity and ADMIN not in roles:
            raise AccessError(f"{pointer.type} is sensitive: the role {ADMIN} is needed", **kind)

    return rule
