"""HTML pages: what the service is, the records of one cluster, and total counts."""

import json
from collections.abc import Callable, Iterable, Iterator
from html import escape
from urllib.parse import parse_qs

from nodespan.discovery.service.cluster import Cluster, Clusters
from nodespan.runtime.api.pages import Page

# The number of cached pages, each until its cluster changes: that of a full cluster has 10 MB.
_KEPT = 4
# The interval, in seconds, at which the public totals are updated.
_STATS_INTERVAL = 3600.0
_LAYOUT = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }}
code {{ overflow-wrap: anywhere }}
</style>
<h1>{title}</h1>
{content}
</html>
"""
_INTRODUCTION = """\
<p>Nodes of a cluster find each other here. Each leaves its record, encrypted with a key that only the cluster's nodes
have, and is told when the records of the others change. The service knows how many there are, and reads none.</p>
<p><a href="/inspect">Inspect the records of a cluster</a></p>"""
_FORM = """\
<form action="/inspect"><label>Cluster id <input name="clusterID" size="48" value="{id}"></label>
<button>Inspect</button></form>"""
_SECURITY = (
    ("content-security-policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'"),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
)


class StatusPages:
    """Renders the pages of a service. `now` is a clock, in seconds."""

    def __init__(self, clusters: Clusters, now: Callable[[], float]) -> None:
        self._clusters = clusters
        self._now = now
        self._counted = float("-inf")
        self._affiliates = 0
        # By cluster id, with what the page shows.
        self._kept: dict[str, tuple[Cluster, int, Page]] = {}

    def respond(self, target: str) -> Page:
        """The page for a request."""
        path, _, query = target.partition("?")
        match path:
            case "/":
                return html_page("Discovery service", _INTRODUCTION)
            case "/inspect":
                return self._inspect(parse_qs(query).get("clusterID", [""])[0])
            case "/stats":
                return self._stats()
            case _:
                return Page(status=404, body=b"there are /, /inspect and /stats\n")

    def _inspect(self, id: str) -> Page:
        cluster = self._clusters.find(id)
        if cluster is None or not cluster.affiliates:
            return _inspection(id, ["<p>There are no records for this id.</p>"] if id else [])
        known, revision, page = self._kept.pop(id, (None, 0, None))
        if page is None or known is not cluster or revision != cluster.revision:
            page = _inspection(id, _affiliates(cluster))
        self._kept[id] = (cluster, cluster.revision, page)
        if len(self._kept) > _KEPT:
            del self._kept[next(iter(self._kept))]
        return page

    def _stats(self) -> Page:
        now = self._now()
        if now - self._counted >= _STATS_INTERVAL:
            self._counted = now
            self._affiliates = sum(len(cluster.affiliates) for _, cluster in self._clusters.items())
        body = json.dumps({"affiliates": self._affiliates}).encode()
        headers = (("access-control-allow-origin", "*"),)
        return Page(content_type="application/json", body=body, headers=headers)


def _inspection(id: str, parts: Iterable[str]) -> Page:
    return html_page("Inspect a cluster", "\n".join((_FORM.format(id=escape(id)), *parts)))


def _affiliates(cluster: Cluster) -> Iterator[str]:
    for affiliate in sorted(cluster.affiliates.values(), key=lambda affiliate: affiliate.affiliate):
        yield f"<h2><code>{escape(affiliate.affiliate)}</code></h2>\n<p>Data: <code>{affiliate.data.hex()}</code></p>"
        for endpoint in affiliate.endpoints:
            yield f"<p>Endpoint: <code>{endpoint.data.hex()}</code></p>"


def html_page(title: str, content: str) -> Page:
    """A page of HTML, whose content is escaped already."""
    body = _LAYOUT.format(title=title, content=content).encode()
    return Page(content_type="text/html; charset=utf-8", body=body, headers=_SECURITY)
