"""cluster.AffiliateMergeController: merges what several sources report about a node into one affiliate."""

from collections.abc import Sequence
from functools import reduce

import attrs

from nodespan.controllers.cluster.grouping import Grouping
from nodespan.resources.cluster import RAW_AFFILIATE, Affiliate, AffiliateSpec, KubeSpanAffiliate, MachineType


def merge(first: AffiliateSpec, second: AffiliateSpec) -> AffiliateSpec:
    """The first source, completed and overridden by the second; the operating system is always that of the first."""
    is_known = second.machine_type is not MachineType.UNKNOWN
    return attrs.evolve(
        first,
        addresses=_union(first.addresses, second.addresses),
        hostname=second.hostname or first.hostname,
        nodename=second.nodename or first.nodename,
        machine_type=second.machine_type if is_known else first.machine_type,
        kubespan=_merge_kubespan(first.kubespan, second.kubespan),
        control_plane=first.control_plane if second.control_plane is None else second.control_plane,
    )


def merge_all(specs: Sequence[AffiliateSpec]) -> AffiliateSpec:
    """All sources in their order, of which there is at least one."""
    return reduce(merge, specs)


def _merge_kubespan(first: KubeSpanAffiliate | None, second: KubeSpanAffiliate | None) -> KubeSpanAffiliate | None:
    if first is None or second is None:
        return second if first is None else first
    return KubeSpanAffiliate(
        public_key=second.public_key or first.public_key,
        address=second.address or first.address,
        additional_addresses=_union(first.additional_addresses, second.additional_addresses),
        endpoints=_union(first.endpoints, second.endpoints),
        exclude_advertised_networks=_union(first.exclude_advertised_networks, second.exclude_advertised_networks),
    )


def _union(first: tuple[str, ...], second: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*first, *second)))


class AffiliateMergeController(Grouping[AffiliateSpec, AffiliateSpec]):
    """One affiliate per node id. A change of one node at one source touches that node's affiliate."""

    def __init__(self) -> None:
        super().__init__(
            "cluster.AffiliateMergeController",
            input=RAW_AFFILIATE,
            output=Affiliate,
            group=lambda affiliate: affiliate.node_id,
            combine=merge_all,
            shared_output=True,
        )
