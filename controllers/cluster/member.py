"""cluster.MemberController: the affiliates that have a node name are the members of the cluster."""

from collections.abc import Sequence

from nodespan.controllers.cluster.grouping import Grouping
from nodespan.resources.cluster import Affiliate, AffiliateSpec, Member, MemberSpec


def member(affiliates: Sequence[AffiliateSpec]) -> MemberSpec:
    """The member that a node is; of several nodes with one name it is the last by id."""
    affiliate = affiliates[-1]
    return MemberSpec(
        node_id=affiliate.node_id,
        addresses=affiliate.addresses,
        hostname=affiliate.hostname,
        machine_type=affiliate.machine_type,
        operating_system=affiliate.operating_system,
        control_plane=affiliate.control_plane,
    )


class MemberController(Grouping[AffiliateSpec, MemberSpec]):
    """One member per node name, this node among them."""

    def __init__(self) -> None:
        super().__init__(
            "cluster.MemberController",
            input=Affiliate,
            output=Member,
            group=lambda affiliate: affiliate.nodename,
            combine=member,
        )
