"""ProbeSpec: a desired probe of the network; ProbeStatus: its result. Id: `tcp:10.0.0.1:22`, `http:https://host/path`.

In `network-config` the id of a spec is prefixed by the layer.
"""

import datetime
import urllib.parse

import attrs

from nodespan.resources.config.network import DEFAULT_PROBE_INTERVAL, DEFAULT_PROBE_TIMEOUT
from nodespan.resources.network.layer import ConfigLayer
from nodespan.resources.network.namespace import NAMESPACE
from nodespan.runtime.resource import ResourceType, wire

_OPTIONAL = wire(omit_empty=True)
# What stands for a password in a URL that is shown, as the originals write it.
REDACTED = "xxxxx"


@attrs.frozen(kw_only=True)
class TCPProbeSpec:
    """A port to reach."""

    endpoint: str
    """`host:port`, which must accept a connection."""
    timeout: datetime.timedelta = DEFAULT_PROBE_TIMEOUT
    """How long a try may take."""


@attrs.frozen(kw_only=True)
class HTTPProbeSpec:
    """A page to reach."""

    url: str
    """The URL, which must answer with a status from 200 to 399. A password in it is redacted here."""
    timeout: datetime.timedelta = DEFAULT_PROBE_TIMEOUT
    """How long a try may take."""


@attrs.frozen(kw_only=True)
class ProbeSpecSpec:
    """A desired probe. One of `tcp` and `http` is set."""

    interval: datetime.timedelta = DEFAULT_PROBE_INTERVAL
    """How often it is tried."""
    failure_threshold: int = 0
    """After how many failures in a row it counts as failed; 0 and 1 are the same."""
    tcp: TCPProbeSpec | None = attrs.field(default=None, metadata=_OPTIONAL)
    """A port to reach."""
    http: HTTPProbeSpec | None = attrs.field(default=None, metadata=_OPTIONAL)
    """A page to reach."""
    layer: ConfigLayer = ConfigLayer.DEFAULT
    """The layer that it comes from."""


@attrs.frozen(kw_only=True)
class ProbeStatusSpec:
    """The result of a probe."""

    success: bool = False
    """Whether it succeeds."""
    last_error: str = ""
    """Why it does not."""


def without_user(url: str) -> str:
    """A URL without the user and the password in it."""
    parts = urllib.parse.urlsplit(url)
    return urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def redacted_url(url: str) -> str:
    """A URL whose password, if it has one, is replaced."""
    parts = urllib.parse.urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    name, colon, _ = user.partition(":")
    return urllib.parse.urlunsplit(parts._replace(netloc=f"{name}:{REDACTED}{at}{host}")) if colon else url


def tcp_probe_id(endpoint: str) -> str:
    """`tcp:10.0.0.1:22`."""
    return f"tcp:{endpoint}"


def http_probe_id(url: str) -> str:
    """`http:https://example.com/health`."""
    return f"http:{without_user(url)}"


def probe_id(spec: ProbeSpecSpec) -> str:
    """The id of a merged spec."""
    if spec.tcp is not None:
        return tcp_probe_id(spec.tcp.endpoint)
    return http_probe_id("" if spec.http is None else spec.http.url)


ProbeSpec = ResourceType("ProbeSpecs.net.talos.dev", ProbeSpecSpec, namespace=NAMESPACE)
ProbeStatus = ResourceType(
    "ProbeStatuses.net.talos.dev",
    ProbeStatusSpec,
    singular="ProbeStatus",
    namespace=NAMESPACE,
    aliases=("probe", "probes"),
    columns={"Success": ".success"},
)
