"""NetworkStatus: whether the node's network is ready, by part. The only id is `status`."""

import attrs

from nodespan.resources.network.namespace import NAMESPACE
from nodespan.runtime.resource import ResourceType

NETWORK_STATUS_ID = "status"


@attrs.frozen(kw_only=True)
class NetworkStatusSpec:
    """Each field is true once its part is ready.

    `discovery_ready`: all configured discovery services are in use, and their records can be read. `vip_ready`: the
    elections of all virtual IPs can be followed.
    """

    address_ready: bool = False
    connectivity_ready: bool = False
    hostname_ready: bool = False
    etc_files_ready: bool = False
    discovery_ready: bool = True
    vip_ready: bool = True


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
