"""The metrics of the cluster: its members, and the discovery services."""

from collections.abc import Iterator

from nodespan.resources.cluster import DiscoveryServiceStatus, Member, ServiceState
from nodespan.runtime.samples import Samples
from nodespan.runtime.state import State


def collect(state: State) -> Iterator[Samples]:
    """The metrics, for one scrape."""
    services = {(service.id, service.spec.endpoint): service.spec for service in state.list(DiscoveryServiceStatus)}
    labels = ("service", "endpoint")
    yield Samples(
        name="nodespan_discovery_connected",
        text="1 while a discovery service is in use.",
        labels=labels,
        values={service: float(spec.state is ServiceState.CONNECTED) for service, spec in services.items()},
    )
    yield Samples(
        name="nodespan_discovery_failure",
        text="1 for the step of a connection that failed, while a discovery service cannot be used.",
        labels=(*labels, "stage"),
        values={(*service, spec.stage): 1.0 for service, spec in services.items() if spec.stage},
    )
    for field, text in (("affiliates", "are known"), ("unreadable", "cannot be read")):
        yield Samples(
            name=f"nodespan_discovery_{field}",
            text=f"Records of other nodes that {text}, by discovery service.",
            labels=labels,
            values={service: getattr(spec, field) for service, spec in services.items()},
        )
    yield Samples(name="nodespan_cluster_members", text="Members of the cluster.", values={(): len(state.list(Member))})
