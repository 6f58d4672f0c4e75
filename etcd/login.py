"""The user that a client is at one member: a token, which is fetched when it is needed and again when it is over.

All members know a token, but each keeps its lifetime: a use at a member renews it there, and a restart of the member
ends it. So a login is per member.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path

import attrs
import trio

from nodespan.etcd.wire import etcd_pb2 as wire
from nodespan.runtime.api.grpc.client import CallError
from nodespan.runtime.api.grpc.status import Code
from nodespan.runtime.named_file import LARGEST_PEM, read_named

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
    """A user of etcd. The password may be in a file, which is read at each login: a new one counts from then on."""

    name: str
    password: str = attrs.field(default="", repr=False)
    password_file: Path | None = None

    def request(self) -> wire.AuthenticateRequest:
        """What the user logs in with. Blocks on the disk; raises OSError."""
        password = self.password
        if self.password_file is not None:
            password = read_named(self.password_file, LARGEST_PEM).decode().rstrip("\r\n")
        return wire.AuthenticateRequest(name=self.name, password=password)


class Login:
    """The user at one member. `authenticate` calls the method of that name there; it raises CallError."""

    def __init__(self, credentials: Credentials, authenticate: Authenticate) -> None:
        self._credentials = credentials
        self._authenticate = authenticate
        self._token: str | None = None
        # A password costs the server a tenth of a second: one call for all waiting tasks.
        self._asking = trio.Lock()

    async def token(self) -> str:
        """The token; "" where etcd wants none. Raises CallError, and OSError for the file of the password."""
        async with self._asking:
            if self._token is None:
                request = await trio.to_thread.run_sync(self._credentials.request, abandon_on_cancel=True)
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
