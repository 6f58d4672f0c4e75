"""HostnameStatus: the name that the kernel has for the node; HostnameSpec: the one it is to have. Id: `hostname`."""

import attrs

from nodespan.resources.network.layer import ConfigLayer
from nodespan.resources.network.namespace import NAMESPACE
from nodespan.runtime.resource import ResourceType

HOSTNAME_ID = "hostname"


@attrs.frozen(kw_only=True)
class HostnameStatusSpec:
    """The host's name and, "" when there is none, its domain."""

    hostname: str = ""
    domainname: str = ""


@attrs.frozen(kw_only=True)
class HostnameSpecSpec:
    """The name that the host is to have and, "" for none, its domain."""

    hostname: str = ""
    domainname: str = ""
    layer: ConfigLayer = ConfigLayer.DEFAULT


HostnameStatus = ResourceType(
    "HostnameStatuses.net.talos.dev",
    HostnameStatusSpec,
    singular="HostnameStatus",
    namespace=NAMESPACE,
    aliases=("hostname",),
    columns={"Hostname": ".hostname", "Domainname": ".domainname"},
)
HostnameSpec = ResourceType("HostnameSpecs.net.talos.dev", HostnameSpecSpec, namespace=NAMESPACE)
