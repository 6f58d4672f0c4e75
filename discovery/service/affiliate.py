"""An affiliate at the service: a resource, so that any kind of state can hold it."""

import attrs

from nodespan.runtime.resource import ResourceType

OWNER = "discovery.Service"


@attrs.frozen(kw_only=True)
class EndpointRecord:
    """An endpoint of an affiliate."""

    data: bytes
    """The endpoint, as ciphertext."""
    expiry: int
    """When it expires, in nanoseconds of the service's clock."""


@attrs.frozen(kw_only=True)
class AffiliateSpec:
    """One affiliate, as the discovery service keeps it."""

    cluster: str
    """The id of its cluster."""
    affiliate: str
    """The id of its node."""
    data: bytes = b""
    """What the node announces of itself, as ciphertext."""
    endpoints: tuple[EndpointRecord, ...] = ()
    """The endpoints that are announced for it."""
    expiry: int = 0
    """When it expires, in nanoseconds of the service's clock."""
    announcement: int = 0
    """How often watchers were notified of it."""
    withdrawn: bool = False
    """Whether the last notification was a deletion, though the affiliate still exists."""


Affiliate = ResourceType(
    "StoredAffiliates.discovery.nodespan.dev",
    AffiliateSpec,
    namespace="discovery",
    columns={"Cluster": ".cluster", "Affiliate": ".affiliate", "Announcement": ".announcement"},
)


def affiliate_id(cluster: str, affiliate: str) -> str:
    """The id of the resource: unique for each pair, whatever the pair contains."""
    return f"{cluster.replace('%', '%25').replace('/', '%2F')}/{affiliate}"


def address_of(id: str) -> tuple[str, str]:
    """The cluster and the affiliate that an id of a resource stands for."""
    cluster, _, affiliate = id.partition("/")
    return cluster.replace("%2F", "/").replace("%25", "%"), affiliate
