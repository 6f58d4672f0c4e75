"""LinkRefresh: requests a new read of links whose changes the kernel does not notify. The id names the links."""

import attrs

from nodespan.resources.network.namespace import NAMESPACE
from nodespan.runtime.resource import ResourceType

WIREGUARD_REFRESH = "wireguard"


@attrs.frozen(kw_only=True)
class LinkRefreshSpec:
    """A request for a new read."""

    generation: int = 0
    """A number that grows with each request."""


LinkRefresh = ResourceType("LinkRefreshes.net.talos.dev", LinkRefreshSpec, singular="LinkRefresh", namespace=NAMESPACE)
