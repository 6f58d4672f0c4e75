"""TimeServerSpec: the desired time servers of the node; TimeServerStatus: those in use. Id: `timeservers`."""

import attrs

from nodespan.resources.network.layer import ConfigLayer
from nodespan.resources.network.namespace import NAMESPACE
from nodespan.runtime.resource import ResourceType, wire

TIME_SERVERS_ID = "timeservers"


@attrs.frozen(kw_only=True)
class TimeServerSpecSpec:
    """Desired time servers."""

    time_servers: tuple[str, ...] = ()
    """Names or addresses of the servers, or `/dev/ptp*`."""
    use_nts: bool = attrs.field(default=False, metadata=wire("useNTS", omit_empty=True))
    """Whether authenticated time (RFC 8915) is required."""
    layer: ConfigLayer = ConfigLayer.DEFAULT
    """The layer that they come from."""


@attrs.frozen(kw_only=True)
class TimeServerStatusSpec:
    """The time servers in effect."""

    time_servers: tuple[str, ...] = ()
    """Names or addresses of the servers, or `/dev/ptp*`."""
    use_nts: bool = attrs.field(default=False, metadata=wire("useNTS"))
    """Whether authenticated time (RFC 8915) is required."""


_COLUMNS = {"TimeServers": ".timeServers", "UseNTS": ".useNTS"}

TimeServerSpec = ResourceType(
    "TimeServerSpecs.net.talos.dev", TimeServerSpecSpec, namespace=NAMESPACE, columns=_COLUMNS
)
TimeServerStatus = ResourceType(
    "TimeServerStatuses.net.talos.dev",
    TimeServerStatusSpec,
    singular="TimeServerStatus",
    namespace=NAMESPACE,
    aliases=("timeserver", "timeservers"),
    columns=_COLUMNS,
)
