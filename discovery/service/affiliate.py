"""An affiliate at the service: a resource, so that any kind of state can hold it."""

import attrs

from nodespan.runtime.resource import ResourceType

OWNER = "discovery.Service"


@attrs.frozen(kw_only=True)
class EndpointRecord:
    """An endpoint's blob and when it expires, in nanoseconds of the service's clock."""

    data: bytes
    expiry: int


@attrs.frozen(kw_only=True)
class AffiliateSpec:
    """One affiliate. `data` and the endpoints are ciphertext; expiry is in nanoseconds of the service's clock.

    `announcement` counts the notifications to watchers. `withdrawn`: the last one was a deletion, though
    the affiliate still exists.
    """

    cluster: str
    affiliate: str
    data: bytes = b""
    endpoints: tuple[EndpointRecord, ...] = ()
    expiry: int = 0
    announcement: int = 0
    withdrawn: bool = False


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
