"""StaticHost: the addresses of a host that is resolved locally. The id is its name in lower case."""

import attrs

from nodespan.resources.network.namespace import NAMESPACE
from nodespan.runtime.resource import ResourceType


@attrs.frozen(kw_only=True)
class StaticHostSpec:
    """A host that is resolved locally."""

    addresses: tuple[str, ...] = ()
    """The addresses."""


StaticHost = ResourceType(
    "StaticHosts.net.talos.dev", StaticHostSpec, namespace=NAMESPACE, columns={"Addresses": ".addresses"}
)
