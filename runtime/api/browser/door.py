"""Who may come in: by a token, or by a certificate, and only under names that this server is called by.

A page of another site can make a browser send requests here, and by DNS rebinding (a name of that site that resolves to
this address) even read the answers. So the Host field must be one of ours. Cookies are not sent along from other sites
(SameSite=Strict), there is no CORS, and a browser that says that a request comes from elsewhere is refused.
"""

import enum
import hashlib
import hmac
import secrets
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from typing import Protocol
from urllib.parse import parse_qsl, urlsplit

import attrs

from nodespan.runtime.api.pages import Request

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
_SESSION = b"nodespan dashboard session"
_BEARER = "bearer "
_MOST_FIELDS = 64


class Rights(enum.Enum):
    """What a client sees: everything, or all but sensitive resources."""

    ALL = "all"
    READER = "reader"


class Door(Protocol):
    """Decides about requests."""

    def is_for_us(self, request: Request) -> bool:
        """Whether the request names this server."""
        ...

    def rights(self, request: Request) -> Rights | None:
        """What the client may see; None if it may not come in."""
        ...

    def session(self, request: Request) -> str | None:
        """The Set-Cookie field for a client that shows a token in the query; None if it shows none that is right."""
        ...

    @property
    def help(self) -> str:
        """How to come in, for those who cannot."""
        ...


def new_token() -> str:
    """A token that cannot be guessed, for URLs."""
    return secrets.token_urlsafe(32)


@attrs.frozen(kw_only=True)
class TokenDoor:
    """Lets in whoever has the token: in the URL once, which gives a cookie, or in the Authorization field.

    `name` tells the cookies of several servers of one host apart, because cookies do not know ports.
    """

    token: str = attrs.field(repr=False)
    rights_given: Rights = Rights.ALL
    hosts: frozenset[str] = frozenset(LOOPBACK_NAMES)
    name: str = "nodespan"
    help: str = "Open the URL that nodespan dashboard has printed: it contains a token."

    def is_for_us(self, request: Request) -> bool:
        """Whether the Host field is one of `hosts`, at any port: it may be forwarded, by ssh for example."""
        return host_name(request.header("host")) in self.hosts

    def rights(self, request: Request) -> Rights | None:
        """By the cookie or the Authorization field."""
        given = request.header("authorization")
        if given.lower().startswith(_BEARER) and _is_same(given[len(_BEARER) :].strip(), self.token):
            return self.rights_given
        for field in request.header("cookie").replace(",", ";").split(";"):
            name, _, value = field.strip().partition("=")
            if name == self.name and _is_same(value, self._session):
                return self.rights_given
        return None

    def session(self, request: Request) -> str | None:
        """By `token` in the query."""
        if not _is_same(query_of(request.target).get("token", ""), self.token):
            return None
        return f"{self.name}={self._session}; Path=/; HttpOnly; SameSite=Strict"

    @property
    def _session(self) -> str:
        # Not the token itself: who reads the cookies of a browser cannot make URLs of them.
        return hmac.new(self.token.encode(), _SESSION, hashlib.sha256).hexdigest()


@attrs.frozen(kw_only=True)
class CertificateDoor:
    """Lets in whoever shows a certificate that the TLS settings accept and `find_rights` knows rights for.

    `names` are those of the server. An IP address as Host is always right: no name was rebound.
    """

    find_rights: Callable[[bytes], Rights | None]
    names: frozenset[str] = frozenset()
    help: str = "Your certificate gives no rights here: its organization must be os:admin, os:operator or os:reader."

    def is_for_us(self, request: Request) -> bool:
        """Whether the Host field is a name of the server or an IP address."""
        host = host_name(request.header("host"))
        return host in self.names or _is_address(host)

    def rights(self, request: Request) -> Rights | None:
        """By the certificate of the connection."""
        return None if request.certificate is None else self.find_rights(request.certificate)

    def session(self, request: Request) -> str | None:
        """There are no sessions: each connection shows the certificate."""
        del request
        return None


def comes_from_elsewhere(request: Request) -> bool:
    """Whether the browser says that another site has caused the request."""
    return request.header("sec-fetch-site") not in ("", "none", "same-origin")


def host_name(field: str) -> str:
    """The name or address of a Host field, without its port, in lower case; "" if it is malformed."""
    try:
        parts = urlsplit(f"//{field}")
        if parts.netloc != field or parts.username is not None:
            return ""
        return (parts.hostname or "").rstrip(".")
    except ValueError:
        return ""


def host_names(texts: Iterable[str]) -> frozenset[str]:
    """Names and addresses as `host_name` gives them."""
    return frozenset(host_name(f"[{text}]" if ":" in text and "[" not in text else text) for text in texts) - {""}


def query_of(target: str) -> dict[str, str]:
    """The query of a target; of repeated names the last. Malformed ones are empty."""
    return dict(fields_of(target))


def fields_of(target: str) -> list[tuple[str, str]]:
    """The fields of a target's query, in order. A malformed query is empty."""
    try:
        return parse_qsl(target.partition("?")[2], keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError:
        return []


def _is_same(given: str, expected: str) -> bool:
    """In a time that does not depend on what is given."""
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), expected.encode())


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
