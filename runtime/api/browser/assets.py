"""The files of a site, held in memory: pages and what they load."""

import hashlib
from importlib.resources.abc import Traversable
from types import MappingProxyType
from typing import Final

import attrs

from nodespan.runtime.api.pages import Page, Request

_TYPES: Final = MappingProxyType(
    {
        ".html": "text/html; charset=utf-8",
        ".css": "text/css; charset=utf-8",
        ".js": "text/javascript; charset=utf-8",
        ".mjs": "text/javascript; charset=utf-8",
        ".svg": "image/svg+xml",
        ".txt": "text/plain; charset=utf-8",
    }
)


@attrs.frozen
class Asset:
    """A file: its content, its type, and a tag that changes with its content."""

    body: bytes
    content_type: str
    tag: str

    def page(self, request: Request) -> Page:
        """The response: without content if the client says that it has this very content."""
        headers = (("cache-control", "no-cache"), ("etag", self.tag))
        if self.tag in request.header("if-none-match"):
            return Page(status=304, body=b"", content_type=self.content_type, headers=headers)
        return Page(body=self.body, content_type=self.content_type, headers=headers)


def load_assets(directory: Traversable) -> dict[str, Asset]:
    """The files below a directory whose types are known, by their paths from there. Blocks."""
    found: dict[str, Asset] = {}
    _collect(directory, "", found)
    return found


def _collect(directory: Traversable, prefix: str, found: dict[str, Asset]) -> None:
    for entry in directory.iterdir():
        path = f"{prefix}{entry.name}"
        if entry.is_dir():
            _collect(entry, f"{path}/", found)
        elif content_type := _TYPES.get(f".{entry.name.rpartition('.')[2]}"):
            body = entry.read_bytes()
            found[path] = Asset(body, content_type, f'"{hashlib.sha256(body).hexdigest()[:32]}"')
