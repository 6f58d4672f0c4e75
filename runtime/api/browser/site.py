"""The paths of a site that shows an agent: its files, its state as it changes, and answers to single questions.

    /                the page; `?token=...` opens a session first
    /static/PATH     what the page loads
    /api/node        what is shown: the agent, and what the client may see
    /api/watch       `type=TYPE` or `type=NAMESPACE/TYPE` with full names, repeated: server-sent events (see `feeds`)
    /api/yaml        `type`, `namespace`, `id`: one resource as YAML, never a sensitive one
    /api/why         `type`, `namespace`, `id`, `depth`: what it was made from
    /api/graph       the controllers, and what they read and write
    further ones     of the application

Everything is read. All answers carry a policy that lets the page load and call nothing but this server, and run no
script and no style that is not one of its files.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final

import attrs
import trio

from nodespan.runtime.api import protocol
from nodespan.runtime.api.browser.assets import Asset
from nodespan.runtime.api.browser.door import Door, Rights, comes_from_elsewhere, fields_of, query_of
from nodespan.runtime.api.browser.feeds import MOST_KINDS, MOST_READERS, Feeds, Topic, request_for
from nodespan.runtime.api.local_client import AgentGoneError, RefusedRequestError, ask
from nodespan.runtime.api.pages import Page, Request, Send, Streamed
from nodespan.runtime.text.escaping import in_markup

_PATIENCE: Final = 15.0
_MOST_DEPTH: Final = 64
_JSON: Final = "application/json"
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types nodespan"
)
_HEADERS: Final = (
    ("content-security-policy", POLICY),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=(), usb=()"),
)
_NO_STORE: Final = (("cache-control", "no-store"),)
_NOT_FOUND = Page(status=404, body=b"there is no such page\n")
_STATUSES: Final = {protocol.NOT_FOUND: 404, protocol.DENIED: 403, protocol.INVALID: 400}


@attrs.frozen
class Question:
    """What a path of the application is asked: with which rights, and with which query."""

    socket: str
    rights: Rights
    query: Mapping[str, str]

    async def ask(self, **request: Any) -> list[dict[str, Any]]:
        """Ask the agent with the client's rights. Raises AgentGoneError, RefusedRequestError."""
        return await ask(self.socket, request_for(self.rights, **request))


# Returns what becomes JSON. May raise AgentGoneError and RefusedRequestError, which the client is told.
Handler = Callable[[Question], Awaitable[object]]


class Site:
    """Answers the requests of browsers about the agent at a socket."""

    def __init__(
        self,
        *,
        socket: str,
        door: Door,
        feeds: Feeds,
        assets: Mapping[str, Asset],
        handlers: Mapping[str, Handler] | None = None,
    ) -> None:
        self._socket = socket
        self._door = door
        self._feeds = feeds
        self._assets = assets
        self._handlers: dict[str, Handler] = {
            "node": _node,
            "why": _why,
            "graph": _graph,
            "yaml": _yaml,
            **(handlers or {}),
        }

    async def answer(self, request: Request) -> Page | Streamed:
        """The response to a request."""
        found = await self._answer(request)
        return attrs.evolve(found, headers=(*found.headers, *_HEADERS))

    async def _answer(self, request: Request) -> Page | Streamed:
        if request.method not in ("GET", "HEAD"):
            return Page(status=405, body=b"this can only be read\n", headers=(("allow", "GET, HEAD"),))
        if not self._door.is_for_us(request):
            return Page(status=421, body=b"this server is not called by that name\n")
        path = request.target.partition("?")[0]
        if path == "/" and (cookie := self._door.session(request)):
            return _welcome(cookie)
        if path.startswith("/static/"):
            asset = self._assets.get(path.removeprefix("/static/"))
            return _NOT_FOUND if asset is None else asset.page(request)
        rights = self._door.rights(request)
        if path == "/":
            return _closed(self._door.help) if rights is None else self._assets["index.html"].page(request)
        if not path.startswith("/api/"):
            return _NOT_FOUND
        if comes_from_elsewhere(request):
            return _problem(403, "requests from other sites are refused")
        if rights is None:
            return _problem(401, self._door.help)
        name = path.removeprefix("/api/")
        if name == "watch":
            return self._watch(request, rights)
        handler = self._handlers.get(name)
        if handler is None:
            return _NOT_FOUND
        return await self._handle(handler, Question(self._socket, rights, query_of(request.target)))

    async def _handle(self, handler: Handler, question: Question) -> Page:
        try:
            with trio.fail_after(_PATIENCE):
                found = await handler(question)
        except AgentGoneError as error:
            return _problem(503, str(error))
        except RefusedRequestError as error:
            return _problem(_STATUSES.get(error.code, 502), str(error))
        except trio.TooSlowError:
            return _problem(504, "the agent took too long to answer")
        return Page(body=_encode(found), content_type=_JSON, headers=_NO_STORE)

    def _watch(self, request: Request, rights: Rights) -> Page | Streamed:
        asked = [value for name, value in fields_of(request.target) if name == "type"]
        if not 1 <= len(asked) <= MOST_KINDS:
            return _problem(400, f"say between 1 and {MOST_KINDS} times type=TYPE")
        # Before anything is sent: requests that come together must not all find the last place free.
        give_back = self._feeds.reserve()
        if give_back is None:
            return _problem(503, f"there are {MOST_READERS} readers already: close one")
        topics = [Topic(type, namespace, rights) for namespace, _, type in (text.rpartition("/") for text in asked)]
        headers = (*_NO_STORE, ("x-accel-buffering", "no"))
        return Streamed(
            run=partial(self._stream, topics), content_type="text/event-stream", headers=headers, end=give_back
        )

    async def _stream(self, topics: list[Topic], send: Send) -> None:
        async with self._feeds.reader(topics) as reader:
            await reader.send(send)


async def _node(question: Question) -> object:
    (answer,) = await question.ask(call="version")
    return {"node": answer["node"], "version": answer["version"], "rights": question.rights.value}


async def _graph(question: Question) -> object:
    (answer,) = await question.ask(call="graph")
    return answer


async def _why(question: Question) -> object:
    depth = question.query.get("depth", "8")
    if not depth.isdecimal() or int(depth) > _MOST_DEPTH:
        raise RefusedRequestError(protocol.INVALID, f"depth is a number from 0 to {_MOST_DEPTH}")
    return await question.ask(call="why", depth=int(depth), **_address(question))


async def _yaml(question: Question) -> object:
    # Nobody is shown the spec of a sensitive resource here, so nobody asks for it with more rights.
    asked = attrs.evolve(question, rights=Rights.READER)
    answers = await asked.ask(call="get", selectors=[], watch=False, form="yaml", **_address(question))
    return {"yaml": next(answer["yaml"] for answer in answers if "yaml" in answer)}


def _address(question: Question) -> dict[str, str]:
    return {name: question.query.get(name, "") for name in ("type", "namespace", "id")}


def _encode(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _problem(status: int, message: str) -> Page:
    return Page(status=status, body=_encode({"error": message}), content_type=_JSON, headers=_NO_STORE)


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>nodespan</title><link rel="stylesheet" href="/static/style.css">%s</head>
<body class="closed"><main><h1>nodespan</h1><p>%s</p></main></body></html>
"""


def _welcome(cookie: str) -> Page:
    # Not a redirection: one that began on another site would not carry a cookie with SameSite=Strict.
    body = _PAGE % ('<meta http-equiv="refresh" content="0;url=/">', 'One moment: <a href="/">the dashboard</a>.')
    return _html(200, body, (("set-cookie", cookie),))


def _closed(help: str) -> Page:
    return _html(401, _PAGE % ("", in_markup(help)))


def _html(status: int, body: str, headers: tuple[tuple[str, str], ...] = ()) -> Page:
    kind = "text/html; charset=utf-8"
    return Page(status=status, body=body.encode(), content_type=kind, headers=(*_NO_STORE, *headers))
