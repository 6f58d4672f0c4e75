"""The metrics of the cluster: its members, and the discovery services."""

from collections.abc import Iterator

from nodespan.resources.cluster import DiscoveryServiceStatus, Member, ServiceState
from nodespan.runtime.metrics import Family, Metric, MetricSource
from nodespan.runtime.state import State

_LABELS = ("service", "endpoint")
_EACH = "one for each discovery service of the configuration"

CONNECTED = Metric(
    name="nodespan_discovery_connected",
    text="1 while a discovery service is in use.",
    labels=_LABELS,
    series=_EACH,
    remedy="the mesh goes on with the nodes that are known, new ones are not found: `nodespan doctor --only discovery`",
)
FAILURE = Metric(
    name="nodespan_discovery_failure",
    text="1 for the step of a connection that failed, while a discovery service cannot be used.",
    labels=(*_LABELS, "stage"),
    series=_EACH,
    remedy="[what each step means](kubespan.md#when-a-service-cannot-be-used)",
)
AFFILIATES = Metric(
    name="nodespan_discovery_affiliates",
    text="Records of other nodes that are known, by discovery service.",
    labels=_LABELS,
    series=_EACH,
    remedy="fewer than there are nodes: see `nodespan_discovery_connected` of those that are missing",
)
UNREADABLE = Metric(
    name="nodespan_discovery_unreadable",
    text="Records of other nodes that were rejected because they cannot be read, by discovery service.",
    labels=_LABELS,
    series=_EACH,
    remedy="a node has another `cluster.secret`, or someone else writes into this cluster's id",
)
MEMBERS = Metric(
    name="nodespan_cluster_members",
    text="Members of the cluster.",
    remedy="differs between nodes for minutes: they do not use the same discovery services",
)


def _collect(state: State) -> Iterator[Family]:
    services = {(service.id, service.spec.endpoint): service.spec for service in state.list(DiscoveryServiceStatus)}
    yield CONNECTED.by({service: spec.state is ServiceState.CONNECTED for service, spec in services.items()})
    yield FAILURE.by({(*service, spec.stage): 1 for service, spec in services.items() if spec.stage})
    yield AFFILIATES.by({service: spec.affiliates for service, spec in services.items()})
    yield UNREADABLE.by({service: spec.unreadable for service, spec in services.items()})
    yield MEMBERS(len(state.list(Member)))


METRICS = MetricSource(
    title="Discovery and members",
    metrics=(CONNECTED, FAILURE, AFFILIATES, UNREADABLE, MEMBERS),
    collect=_collect,
)
