"""The rules of the service: what it accepts, how reports are merged, and what expires. No clock, no I/O.

An affiliate is what was reported for an id in a cluster: a blob from its owner, and endpoints that any node
may add. A report lasts for its TTL. A report with data sets the affiliate's expiry; all others can only extend it.
"""

from collections.abc import Iterable

import attrs

from nodespan.discovery.service.affiliate import AffiliateSpec, EndpointRecord, affiliate_id
from nodespan.runtime.api.grpc import Code, RPCError
from nodespan.runtime.resource import Resource

MAX_ID = 256
MAX_DATA = 2048
MAX_ENDPOINT = 32
MAX_ENDPOINTS = 64
MAX_AFFILIATES = 1024
MAX_TTL = 30 * 60 * 10**9


def check_cluster_id(id: str) -> None:
    """Raises RPCError for an invalid cluster id."""
    _check_id("cluster id", id)


def check_affiliate_id(id: str) -> None:
    """Raises RPCError for an invalid affiliate id."""
    _check_id("affiliate id", id)


def _check_id(what: str, id: str) -> None:
    size = len(id.encode())
    if not 1 <= size <= MAX_ID:
        raise RPCError(Code.INVALID_ARGUMENT, f"the {what} has {size} bytes: it must have 1 to {MAX_ID}")


def check_report(data: bytes, endpoints: Iterable[bytes], ttl: int) -> None:
    """Raises RPCError for a report that is too large, or a TTL (in nanoseconds) that is too long."""
    if len(data) > MAX_DATA:
        raise RPCError(Code.INVALID_ARGUMENT, f"the affiliate data has {len(data)} bytes: at most {MAX_DATA} are kept")
    for endpoint in endpoints:
        if len(endpoint) > MAX_ENDPOINT:
            message = f"an affiliate endpoint has {len(endpoint)} bytes: at most {MAX_ENDPOINT} are kept"
            raise RPCError(Code.INVALID_ARGUMENT, message)
    if ttl > MAX_TTL:
        raise RPCError(Code.INVALID_ARGUMENT, f"the TTL is {ttl / 1e9:g} s: at most {MAX_TTL // 10**9} s are granted")


def is_sound(stored: Resource[AffiliateSpec]) -> bool:
    """Whether a stored affiliate is one that the service would have stored."""
    spec = stored.spec
    return (
        stored.id == affiliate_id(spec.cluster, spec.affiliate)
        and 1 <= len(spec.cluster.encode(errors="replace")) <= MAX_ID
        and 1 <= len(spec.affiliate.encode(errors="replace")) <= MAX_ID
        and len(spec.data) <= MAX_DATA
        and len(spec.endpoints) <= MAX_ENDPOINTS
        and all(len(endpoint.data) <= MAX_ENDPOINT for endpoint in spec.endpoints)
    )


def merge(
    known: AffiliateSpec, data: bytes, endpoints: Iterable[bytes], expiry: int
) -> tuple[AffiliateSpec, RPCError | None]:
    """The affiliate after a report that expires at `expiry`, and the error if a part of the report was refused.

    The accepted part is kept. An affiliate that was never announced is new.
    """
    error = None
    changed = known.announcement == 0 or bool(data)
    kept = {endpoint.data: endpoint for endpoint in known.endpoints}
    for blob in endpoints:
        before = kept.get(blob)
        if before is None and len(kept) >= MAX_ENDPOINTS:
            error = RPCError(Code.RESOURCE_EXHAUSTED, f"the affiliate has {MAX_ENDPOINTS} endpoints, the maximum")
            break
        changed = changed or before is None
        kept[blob] = EndpointRecord(data=blob, expiry=expiry if before is None else max(before.expiry, expiry))
    lasts = expiry if data else known.expiry
    if error is None:
        lasts = max(lasts, expiry)
    merged = AffiliateSpec(
        cluster=known.cluster,
        affiliate=known.affiliate,
        data=data or known.data,
        endpoints=tuple(kept.values()),
        expiry=lasts,
        announcement=known.announcement + changed,
        withdrawn=known.withdrawn and not changed,
    )
    return merged, error


def prune(known: AffiliateSpec, now: int) -> AffiliateSpec | None:
    """The affiliate without expired endpoints: None if it has expired itself, the same object if nothing has.

    If only endpoints are dropped, watchers are sent a deletion of the affiliate until its next report. That is odd, but
    clients rely on it. Nothing lasts longer than a report can grant: a later expiry comes from a clock that was ahead.
    """
    if known.expiry < now:
        return None
    endpoints = tuple(_cut(endpoint, now + MAX_TTL) for endpoint in known.endpoints if endpoint.expiry > now)
    expiry = min(known.expiry, now + MAX_TTL)
    if len(endpoints) == len(known.endpoints):
        if expiry == known.expiry and endpoints == known.endpoints:
            return known
        return attrs.evolve(known, expiry=expiry, endpoints=endpoints)
    return _announced(attrs.evolve(known, expiry=expiry, endpoints=endpoints), withdrawn=True)


def _cut(endpoint: EndpointRecord, latest: int) -> EndpointRecord:
    return endpoint if endpoint.expiry <= latest else attrs.evolve(endpoint, expiry=latest)


def _announced(affiliate: AffiliateSpec, *, withdrawn: bool) -> AffiliateSpec:
    return attrs.evolve(affiliate, announcement=affiliate.announcement + 1, withdrawn=withdrawn)
