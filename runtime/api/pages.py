"""Pages: what a plain HTTP response is, apart from how it is sent.

A page is made from memory without waiting, so what makes it is an ordinary function: from the target of a request (a
path and perhaps a query) to the page.
"""

from collections.abc import Callable

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


Respond = Callable[[str], Page]


def answer(respond: Respond, method: str, target: str) -> Page:
    """The page for a request; methods other than GET and HEAD are refused."""
    if method not in ("GET", "HEAD"):
        return Page(status=405, body=b"pages can only be read\n", headers=(("allow", "GET, HEAD"),))
    return respond(target)
