"""The user that a client is at one member: a token, which is fetched when it is needed and again when it is over.

A token is known to all members, but it lives on each by itself: its time begins anew with each use there, and a restart
of the member ends it. So a login is one at each member.
"""

from collections.abc import Awaitable, Callable

import attrs
import trio

from nodespan.etcd.wire import etcd_pb2 as wire
from nodespan.runtime.api.grpc.client import CallError
from nodespan.runtime.api.grpc.status import Code

# With these the token is over, whatever it was.
_TOKEN_IS_OVER = (
    "etcdserver: invalid auth token",
    "etcdserver: revision of auth store is old",
    "etcdserver: user name is empty",
)
_NOT_ENABLED = "etcdserver: authentication is not enabled"

Authenticate = Callable[[wire.AuthenticateRequest], Awaitable[wire.AuthenticateResponse]]


@attrs.frozen
class Credentials:
    """A user of etcd."""

    name: str
    password: str = attrs.field(repr=False)


class Login:
    """The user at one member. `authenticate` calls the method of that name there; it raises CallError."""

    def __init__(self, credentials: Credentials, authenticate: Authenticate) -> None:
        self._credentials = credentials
        self._authenticate = authenticate
        self._token: str | None = None
        # A password costs the server a tenth of a second: one call for all who wait.
        self._asking = trio.Lock()

    async def token(self) -> str:
        """The token; "" where etcd wants none. Raises CallError."""
        async with self._asking:
            if self._token is None:
                request = wire.AuthenticateRequest(name=self._credentials.name, password=self._credentials.password)
                try:
                    self._token = (await self._authenticate(request)).token
                except CallError as error:
                    if error.code is not Code.FAILED_PRECONDITION or str(error) != _NOT_ENABLED:
                        raise
                    self._token = ""
            return self._token

    def is_over(self, token: str, reason: str) -> bool:
        """Whether a call with this token was refused because the token is over. The next one is a new one then."""
        # A watch quotes the reason in longer words.
        if not reason.endswith(_TOKEN_IS_OVER):
            return False
        if self._token == token:
            self._token = None
        return True
