"""HostnameStatus: the kernel's host name; HostnameSpec: the desired one. Id: `hostname`."""

import attrs

from nodespan.resources.network.layer import ConfigLayer
from nodespan.resources.network.namespace import NAMESPACE
from nodespan.runtime.resource import ResourceType

HOSTNAME_ID = "hostname"


@attrs.frozen(kw_only=True)
class HostnameStatusSpec:
    """The host name, and its domain or ""."""

    hostname: str = ""
    domainname: str = ""


@attrs.frozen(kw_only=True)
class HostnameSpecSpec:
    """The desired host name, and its domain or ""."""

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
