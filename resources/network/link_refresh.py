"""LinkRefresh: asks for links to be read again where the kernel tells nothing of a change. The id says which links."""

import attrs

from nodespan.resources.network.namespace import NAMESPACE
from nodespan.runtime.resource import ResourceType

WIREGUARD_REFRESH = "wireguard"


@attrs.frozen(kw_only=True)
class LinkRefreshSpec:
    """A number that grows with each request."""

    generation: int = 0


LinkRefresh = ResourceType("LinkRefreshes.net.talos.dev", LinkRefreshSpec, singular="LinkRefresh", namespace=NAMESPACE)
