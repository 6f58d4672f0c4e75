"""An affiliate as the service keeps it: a resource, so that any kind of state can hold it."""

import attrs

from nodespan.runtime.resource import ResourceType

OWNER = "discovery.Service"


@attrs.frozen(kw_only=True)
class EndpointRecord:
    """An endpoint's blob and when it expires, in wall-clock nanoseconds."""

    data: bytes
    expiry: int


@attrs.frozen(kw_only=True)
class AffiliateSpec:
    """What is known of an affiliate. `data` and the endpoints are ciphertext; expiry is in wall-clock nanoseconds.

    `announcement` counts what watchers were told of it. `withdrawn` says that they were last told to forget it, though
    it is still here.
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
    """The id of the resource: two pairs never share one, whatever stands in them."""
    return f"{cluster.replace('%', '%25').replace('/', '%2F')}/{affiliate}"
