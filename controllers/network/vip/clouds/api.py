"""The HTTP API of a cloud: requests with a token, answers in JSON, and which failures are tried again.

Nothing that comes from the network is trusted: an answer is bounded, and each field is checked where it is read.
Before each request that changes something, also before each repetition, `permit` is asked: it raises if this node does
not lead the election any more. What was sent before that moment may still take effect after it; so whoever leads looks
regularly whether the cloud still leads the address to it.
"""

import json
import random
import ssl
import urllib.parse
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, Protocol, TypeVar

import attrs
import trio

from nodespan.controllers.common.http_client import Answer, FetchError, Request, fetch
from nodespan.controllers.common.web_access import WebAccess
from nodespan.controllers.network.vip.clouds.token import TokenError, read_token
from nodespan.runtime.backoff import Exponential
from nodespan.runtime.text.escaping import bounded

T = TypeVar("T")
Permit = Callable[[], None]
Access = Callable[[], WebAccess]


class Fetch(Protocol):
    """Sends a request; see `http_client.fetch`."""

    def __call__(self, request: Request, tls: ssl.SSLContext | None, *, proxy: str = "") -> Awaitable[Answer]:
        """The answer. Raises FetchError."""
        ...


# In seconds: how long one request may take.
TIMEOUT = 10.0
# How often a request is sent at most; and how much of an answer is read.
ATTEMPTS = 5
_MOST = 2 << 20
_MOST_PAGES = 200
WAITS = Exponential(base=1.0, cap=60.0, jitter=0.5)
_SUCCESS = range(200, 300)
_LONGEST_TEXT = 200


class CloudError(Exception):
    """The cloud did not do what it was asked to; the text says what and why, without secrets."""


class ConflictError(CloudError):
    """Something else changed at the same moment, so that what was read before the change holds no longer."""


class NotPermittedError(Exception):
    """This node does not lead the election any more."""


@attrs.frozen(kw_only=True)
class Failure:
    """What an error of the API says of itself."""

    code: str = ""
    message: str = ""


@attrs.frozen(kw_only=True)
class Dialect:
    """How an API is spoken: the header for the token, further ones, errors, and which are tried again."""

    name: str
    authorize: Callable[[str], Mapping[str, str]]
    headers: Mapping[str, str] = attrs.field(factory=dict)
    failure: Callable[[Any], Failure]
    again_codes: Collection[str] = ()
    again_statuses: Collection[int] = (502, 504)


def no_permit() -> None:
    """For what changes nothing."""


class CloudAPI:
    """One API. `token` is as the configuration gives it; it and `access` are read at each request."""

    def __init__(
        self,
        base: str,
        token: str,
        dialect: Dialect,
        *,
        access: Access = WebAccess,
        random: random.Random | None = None,
        fetch: Fetch = fetch,
    ) -> None:
        self._base = base.rstrip("/")
        self._token = token
        self._dialect = dialect
        self._access = access
        self._random = random
        self._fetch = fetch

    async def get(self, path: str, **query: str | int) -> Any:
        """What is at a path. Raises CloudError."""
        text = urllib.parse.urlencode(query)
        return await self._call("GET", f"{path}?{text}" if text else path, None, no_permit)

    async def get_all(self, path: str, key: str) -> list[Any]:
        """The items at `key` of all pages of a list. Raises CloudError."""
        found: list[Any] = []
        page = 1
        for _ in range(_MOST_PAGES):
            answer = await self.get(path, page=page, per_page=50)
            found += field(answer, list, key)
            following = optional(answer, int, "meta", "pagination", "next_page")
            if following is None:
                return found
            page = following
        raise CloudError(f"{self._dialect.name} has more than {_MOST_PAGES} pages of {path}")

    async def post(self, path: str, body: Mapping[str, Any], permit: Permit, *, rests_on_reading: bool = False) -> Any:
        """Change something. Raises CloudError, and what `permit` raises.

        What rests on something that was read is not sent again after a conflict, but raises ConflictError.
        """
        return await self._call("POST", path, body, permit, rests_on_reading=rests_on_reading)

    async def delete(self, path: str, permit: Permit) -> None:
        """Remove something; that it is gone already is a success. Raises CloudError, and what `permit` raises."""
        await self._call("DELETE", path, None, permit, accepts=(404,))

    async def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        permit: Permit,
        *,
        accepts: Collection[int] = (),
        rests_on_reading: bool = False,
    ) -> Any:
        what = f"{self._dialect.name}: {method} {path.partition('?')[0]}"
        request = await self._request(method, path, body)
        reason = ""
        for attempt in range(1, ATTEMPTS + 1):
            if attempt > 1:
                await trio.sleep(WAITS.spread(WAITS.after(attempt - 1), self._random))
            permit()
            # At each attempt: just after the start of the agent, its authorities and proxy may not be known yet.
            access = self._access()
            answer: Answer | None = None
            with trio.move_on_after(TIMEOUT):
                try:
                    tls = await access.tls(request.url)
                    answer = await self._fetch(request, tls, proxy=access.proxy(request.url))
                except FetchError as error:
                    reason = str(error)
                    continue
            if answer is None:
                reason = f"no answer within {TIMEOUT:g} s"
                continue
            if answer.status in _SUCCESS or answer.status in accepts:
                return _content(answer.body, what)
            failure = self._dialect.failure(_content(answer.body, what, is_error=True))
            reason = _failure_text(answer, failure)
            if rests_on_reading and failure.code == "conflict":
                raise ConflictError(f"{what}: {reason}")
            if failure.code not in self._dialect.again_codes and answer.status not in self._dialect.again_statuses:
                break
        raise CloudError(f"{what}: {reason}")

    async def _request(self, method: str, path: str, body: Mapping[str, Any] | None) -> Request:
        try:
            is_file = self._token.startswith("file:")
            token = await trio.to_thread.run_sync(read_token, self._token) if is_file else read_token(self._token)
        except TokenError as error:
            raise CloudError(str(error)) from error
        headers = {"Accept": "application/json", **self._dialect.headers, **self._dialect.authorize(token)}
        data = b"" if body is None else json.dumps(body).encode()
        if body is not None:
            headers["Content-Type"] = "application/json"
        return Request(url=f"{self._base}/{path.lstrip('/')}", method=method, headers=headers, body=data, most=_MOST)


async def metadata(url: str, name: str, *, access: WebAccess | None = None, fetch: Fetch = fetch) -> bytes:
    """What the metadata service of a cloud says. Raises CloudError, also where there is no such service.

    It is on the network of the machine itself, and tells by that who asks: no proxy may ask in its place.
    """
    answer: Answer | None = None
    with trio.move_on_after(TIMEOUT):
        try:
            tls = await (access or WebAccess()).tls(url)
            answer = await fetch(Request(url=url, most=_MOST), tls)
        except FetchError as error:
            raise CloudError(
                f"the metadata service of {name} cannot be asked which machine this is: {error}"
            ) from error
    if answer is None:
        raise CloudError(f"the metadata service of {name} does not answer: is this one of its machines?")
    if answer.status != 200:
        raise CloudError(f"the metadata service of {name} answers {answer.status}: is this one of its machines?")
    return answer.body


def field(data: Any, kind: type[T], *keys: str) -> T:
    """A field of an answer, by the keys that lead there. Raises CloudError unless it is there, and of this type."""
    found = optional(data, kind, *keys)
    if found is None:
        raise CloudError(f"the answer of the API has no {'.'.join(keys)}")
    return found


def optional(data: Any, kind: type[T], *keys: str) -> T | None:
    """The same, None for one that is missing or null. Raises CloudError for another type."""
    for key in keys:
        if data is None:
            return None
        if not isinstance(data, dict):
            raise CloudError(f"the answer of the API has something else than {'.'.join(keys)}")
        data = data.get(key)
    if data is not None and (not isinstance(data, kind) or (kind is int and isinstance(data, bool))):
        raise CloudError(f"{'.'.join(keys)} of the answer of the API is something else")
    return data


def _content(body: bytes, what: str, *, is_error: bool = False) -> Any:
    if not body.strip():
        return None
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        if is_error:
            return None
        raise CloudError(f"{what}: the answer is not JSON") from error


def _failure_text(answer: Answer, failure: Failure) -> str:
    said = ": ".join(filter(None, (failure.code, failure.message)))
    text = f"{answer.status} {answer.reason}".strip()
    return f"{text}: {bounded(said, _LONGEST_TEXT)}" if said else text
