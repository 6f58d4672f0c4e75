"""HostnameStatus: the kernel's host name; HostnameSpec: the desired one. Id: `hostname`."""

import attrs

from nodespan.resources.network.layer import ConfigLayer
from nodespan.resources.network.namespace import NAMESPACE
from nodespan.runtime.resource import ResourceType

HOSTNAME_ID = "hostname"


@attrs.frozen(kw_only=True)
class HostnameStatusSpec:
    """The kernel's host name."""

    hostname: str = ""
    """The host name without a domain."""
    domainname: str = ""
    """The domain, or ""."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the node, the longest first; none without a host name."""
        return _names(self.hostname, self.domainname)


@attrs.frozen(kw_only=True)
class HostnameSpecSpec:
    """The desired host name."""

    hostname: str = ""
    """The host name without a domain."""
    domainname: str = ""
    """The domain, or ""."""
    layer: ConfigLayer = ConfigLayer.DEFAULT
    """The layer that it comes from."""

    @property
    def names(self) -> tuple[str, ...]:
        """As those of the status."""
        return _names(self.hostname, self.domainname)


def _names(hostname: str, domainname: str) -> tuple[str, ...]:
    if not hostname:
        return ()
    return (f"{hostname}.{domainname}", hostname) if domainname else (hostname,)


HostnameStatus = ResourceType(
    "HostnameStatuses.net.talos.dev",
    HostnameStatusSpec,
    singular="HostnameStatus",
    namespace=NAMESPACE,
    aliases=("hostname",),
    columns={"Hostname": ".hostname", "Domainname": ".domainname"},
)
HostnameSpec = ResourceType("HostnameSpecs.net.talos.dev", HostnameSpecSpec, namespace=NAMESPACE)
