"""HostnameStatus: the name that the kernel has for the node."""

import attrs

from resources.network.namespace import NAMESPACE
from runtime.resource import ResourceType


@attrs.frozen(kw_only=True)
class HostnameStatusSpec:
    """The host's name and, "" when there is none, its domain."""

    hostname: str = ""
    domainname: str = ""


HostnameStatus = ResourceType(
    "HostnameStatuses.net.talos.dev",
    HostnameStatusSpec,
    namespace=NAMESPACE,
    aliases=("hostname",),
    columns={"Hostname": ".hostname", "Domainname": ".domainname"},
)
