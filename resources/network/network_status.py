"""NetworkStatus: whether the node's network is ready, by part. The only id is `status`."""

import attrs

from nodespan.resources.network.namespace import NAMESPACE
from nodespan.runtime.resource import ResourceType

NETWORK_STATUS_ID = "status"


@attrs.frozen(kw_only=True)
class NetworkStatusSpec:
    """Whether each part of the network is ready."""

    address_ready: bool = False
    """The node has an address."""
    connectivity_ready: bool = False
    """All probes succeed, or without probes the node has a default route."""
    hostname_ready: bool = False
    """The host name is set."""
    etc_files_ready: bool = False
    """The files below /etc are written."""
    discovery_ready: bool = True
    """All configured discovery services are in use, and their records can be read."""
    vip_ready: bool = True
    """The elections of all virtual IPs can be followed."""


NetworkStatus = ResourceType(
    "NetworkStatuses.net.talos.dev",
    NetworkStatusSpec,
    singular="NetworkStatus",
    namespace=NAMESPACE,
    aliases=("netstatus", "netstatuses"),
    columns={
        "Address": ".addressReady",
        "Connectivity": ".connectivityReady",
        "Hostname": ".hostnameReady",
        "Etc": ".etcFilesReady",
        "Discovery": ".discoveryReady",
        "VIP": ".vipReady",
    },
)
