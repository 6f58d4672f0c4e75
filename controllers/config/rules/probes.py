"""TCPProbeConfig and HTTPProbeConfig."""

import urllib.parse
from collections.abc import Iterator
from datetime import timedelta

from nodespan.controllers.common.quoting import quote
from nodespan.controllers.config.finding import Finding, at, warn
from nodespan.controllers.config.notation import is_host_port, is_url
from nodespan.controllers.config.rules.base import RuleSet
from nodespan.resources.config.network import HTTPProbeConfig, ProbeConfig, TCPProbeConfig

RULES = RuleSet()

_URL_HINT = "write it like https://example.org/health"


@RULES.document(TCPProbeConfig)
def check_tcp_probe(probe: TCPProbeConfig) -> Iterator[Finding]:
    """TCPProbeConfig."""
    yield from _check_common(probe)
    if not probe.endpoint:
        yield at("endpoint", message="TCPProbeConfig needs endpoint", hint="write it like 10.0.0.1:22")
    elif not is_host_port(probe.endpoint):
        # A warning: the original finds out when it connects.
        message = f"{quote(probe.endpoint)} is not host:port, so the probe always fails"
        yield warn("endpoint", message=message, hint="write it like 10.0.0.1:22")


@RULES.document(HTTPProbeConfig)
def check_http_probe(probe: HTTPProbeConfig) -> Iterator[Finding]:
    """HTTPProbeConfig. The URL may hold a password, so messages do not repeat it."""
    yield from _check_common(probe)
    if not probe.url:
        yield at("url", message="HTTPProbeConfig needs url", hint=_URL_HINT)
    elif not is_url(probe.url, "http", "https"):
        yield _of_url(probe.url)


def _of_url(url: str) -> Finding:
    try:
        scheme = urllib.parse.urlsplit(url).scheme
    except ValueError:
        scheme = ""
    if scheme and scheme not in {"http", "https"}:
        return at("url", message=f"the scheme {quote(scheme)} is not http or https", hint=_URL_HINT)
    return at("url", message="this is not a whole URL of http or https with a host", hint=_URL_HINT)


def _check_common(probe: ProbeConfig) -> Iterator[Finding]:
    if not probe.name:
        yield at("name", message=f"{probe.kind} needs name")
    for key, duration in (("interval", probe.interval), ("timeout", probe.timeout)):
        if duration < timedelta():
            yield at(key, message=f"the {key} is negative", hint="write it like 5s")
    if probe.failure_threshold < 0:
        yield at("failureThreshold", message=f"failureThreshold {probe.failure_threshold} is negative")
