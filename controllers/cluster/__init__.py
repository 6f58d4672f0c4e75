"""From the settings of a cluster to the nodes that belong to it: identity, discovery, affiliates, members."""

from nodespan.controllers.cluster import metrics
from nodespan.controllers.cluster.affiliate_cache import AffiliateCacheController
from nodespan.controllers.cluster.affiliate_merge import AffiliateMergeController
from nodespan.controllers.cluster.config import ConfigController
from nodespan.controllers.cluster.discovery_service import DiscoveryServiceController
from nodespan.controllers.cluster.endpoint import EndpointController
from nodespan.controllers.cluster.info import InfoController
from nodespan.controllers.cluster.leave import LeaveController
from nodespan.controllers.cluster.local_affiliate import LocalAffiliateController
from nodespan.controllers.cluster.member import MemberController
from nodespan.controllers.cluster.node_identity import NodeIdentityController
from nodespan.runtime import installed
from nodespan.runtime.plugins import AnyController, Settings


def controllers(settings: Settings) -> list[AnyController]:
    """The controllers of this family, for its entry point."""
    settings.publish(metrics.METRICS)
    version = f"v{installed.version('nodespan')}"
    return [
        ConfigController(),
        InfoController(),
        NodeIdentityController(settings.state_dir),
        LocalAffiliateController(version=version),
        DiscoveryServiceController(version=version),
        AffiliateCacheController(settings.state_dir),
        AffiliateMergeController(),
        MemberController(),
        EndpointController(),
        LeaveController(),
    ]


__all__ = [
    "AffiliateCacheController",
    "AffiliateMergeController",
    "ConfigController",
    "DiscoveryServiceController",
    "EndpointController",
    "InfoController",
    "LeaveController",
    "LocalAffiliateController",
    "MemberController",
    "NodeIdentityController",
    "controllers",
]
