"""Plain web pages: what one is, and serving a function that makes them over HTTP.

A page is answered from memory without waiting, so the function is an ordinary one: from the target of a request, which
is a path and perhaps a query, to the page.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import trio
from hypercorn.config import Config
from hypercorn.trio import serve

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


@attrs.frozen(kw_only=True)
class Page:
    """A response. `headers` are those beyond content type and length."""

    body: bytes
    status: int = 200
    content_type: str = "text/plain; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()

    def fields(self) -> tuple[tuple[str, str], ...]:
        """All header fields."""
        return (("content-type", self.content_type), ("content-length", str(len(self.body))), *self.headers)


Respond = Callable[[str], Page]


def answer(respond: Respond, method: str, target: str) -> Page:
    """The page for a request, with the refusal of methods that would change something."""
    if method not in ("GET", "HEAD"):
        return Page(status=405, body=b"pages can only be read\n", headers=(("allow", "GET, HEAD"),))
    return respond(target)


async def _live(receive: Receive, send: Send) -> None:
    """The part of ASGI that is about start and end: there is nothing to be done at either."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def serve_pages(
    respond: Respond,
    address: tuple[str, int],
    *,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve pages over plain HTTP until cancelled; reports its URL once it answers. Raises OSError if it cannot."""

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "http":
            query = scope["query_string"].decode("latin-1")
            path = scope["raw_path"].decode("latin-1")
            page = answer(respond, scope["method"], f"{path}?{query}" if query else path)
            headers = [(name.encode(), value.encode("latin-1")) for name, value in page.fields()]
            await send({"type": "http.response.start", "status": page.status, "headers": headers})
            await send({"type": "http.response.body", "body": page.body})
        else:
            raise ValueError(f"{scope['type']} is not spoken here")

    host, port = address
    config = Config()
    config.bind = [f"[{host}]:{port}" if ":" in host else f"{host}:{port}"]
    config.accesslog = None
    config.errorlog = None
    async with trio.open_nursery() as nursery:
        (bound,) = await nursery.start(
            lambda task_status: serve(app, config, mode="asgi", task_status=task_status)  # type: ignore[arg-type]
        )
        task_status.started(bound)
