"""What a channel may be told about its connections and calls."""

import math

import attrs

from nodespan.runtime.backoff import Exponential

_BACKOFF = Exponential(base=0.2, factor=1.6, cap=5.0, jitter=0.2)


@attrs.frozen(kw_only=True)
class ChannelOptions:
    """Times in seconds, sizes in bytes.

    `connect_timeout` is for one endpoint: its name, the proxy, TCP, TLS and the first words of HTTP/2 together. Where
    calls are under way and nothing was received for `keepalive`, the server is pinged; with `keepalive_without_calls`
    also where there are none. One that does not answer within `keepalive_timeout` is gone. After `probe_after` without
    a packet the kernel probes the other end, which costs its program nothing, and after `probe_timeout` more without an
    answer the connection is lost (None: as for pings); behind a proxy that is the proxy's end. `max_message` is the
    size of an answer's largest message, `window` what of a stream may lie unread, and `max_buffered` what of all
    streams of a connection. `unsent` is how much the kernel may keep that is not on its way yet (None: as much as it
    likes): what goes stale should wait where it can be dropped. `backoff` spaces the attempts while
    no endpoint can be reached.
    """

    connect_timeout: float = 10.0
    keepalive: float = math.inf
    keepalive_timeout: float = 20.0
    keepalive_without_calls: bool = False
    probe_after: float = 30.0
    probe_timeout: float | None = None
    max_message: int = 4 << 20
    max_header_list: int = 16 << 10
    window: int = 256 << 10
    max_buffered: int = 64 << 20
    unsent: int | None = None
    backoff: Exponential = _BACKOFF
    user_agent: str = "nodespan"
