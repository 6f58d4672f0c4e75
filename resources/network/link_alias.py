"""LinkAliasSpec: the desired alias of a link. The id is the link's name."""

import attrs

from nodespan.resources.network.namespace import NAMESPACE
from nodespan.runtime.resource import ResourceType


@attrs.frozen(kw_only=True)
class LinkAliasSpecSpec:
    """A desired alias of a link."""

    alias: str
    """The alias."""


LinkAliasSpec = ResourceType(
    "LinkAliasSpecs.net.talos.dev", LinkAliasSpecSpec, namespace=NAMESPACE, columns={"Alias": ".alias"}
)
