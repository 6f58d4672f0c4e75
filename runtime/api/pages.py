"""Pages: what a plain HTTP response is, apart from how it is sent.

A page is made from memory without waiting, so what makes it is an ordinary function: from the target of a request (a
path and perhaps a query) to the page. What has to look at the rest of a request, to wait, or to send without an end is
an `Answer`.
"""

from collections.abc import Awaitable, Callable

import attrs


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


@attrs.frozen(kw_only=True)
class Request:
    """A request of a client: `target` is the path and perhaps a query, the names of `headers` are in lower case.

    `certificate` is the one that the client showed (DER), None without one.
    """

    method: str
    target: str
    headers: tuple[tuple[str, str], ...] = ()
    certificate: bytes | None = None

    def header(self, name: str) -> str:
        """The value of a header, "" if there is none. Repeated ones are joined, as RFC 9110 says."""
        return ", ".join(value for key, value in self.headers if key == name)


Send = Callable[[bytes], Awaitable[None]]


@attrs.frozen(kw_only=True)
class Streamed:
    """A response that is sent as it comes: `run` gets the function that sends a piece.

    It ends when `run` returns, and `run` is cancelled when the client leaves, or takes no more. `end` is called once
    when it is over, also if `run` was never called: it gives back what was kept for the response.
    """

    run: Callable[[Send], Awaitable[None]]
    content_type: str
    headers: tuple[tuple[str, str], ...] = ()
    status: int = 200
    end: Callable[[], None] = lambda: None

    def fields(self) -> tuple[tuple[str, str], ...]:
        """All header fields."""
        return (("content-type", self.content_type), *self.headers)


# A page that other processes have a part of is awaited.
Respond = Callable[[str], Page | Awaitable[Page]]
# As above, from the target and the header `Accept`, which is "" if there is none.
RespondTo = Callable[[str, str], Page | Awaitable[Page]]
Answer = Callable[[Request], Awaitable[Page | Streamed]]


async def answer(respond: Respond, method: str, target: str) -> Page:
    """The page for a request; methods other than GET and HEAD are refused."""
    if method not in ("GET", "HEAD"):
        return Page(status=405, body=b"pages can only be read\n", headers=(("allow", "GET, HEAD"),))
    page = respond(target)
    return page if isinstance(page, Page) else await page


def from_memory(respond: Respond) -> Answer:
    """Answers each request with the page for its target."""
    return negotiated(lambda target, _accept: respond(target))


def negotiated(respond: RespondTo) -> Answer:
    """Answers each request with the page for its target, in the form that the client prefers."""

    async def answer_request(request: Request) -> Page:
        accept = request.header("accept")
        return await answer(lambda target: respond(target, accept), request.method, request.target)

    return answer_request
