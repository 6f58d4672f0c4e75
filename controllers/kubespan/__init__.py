"""Controllers of KubeSpan, a full mesh of WireGuard tunnels between the nodes of a cluster, and their rules."""

from nodespan.controllers.kubespan import metrics
from nodespan.controllers.kubespan.config import ConfigController
from nodespan.controllers.kubespan.device import WireguardDevice
from nodespan.controllers.kubespan.discovery_path import DiscoveryPathController
from nodespan.controllers.kubespan.endpoint import EndpointController
from nodespan.controllers.kubespan.identity import IdentityController
from nodespan.controllers.kubespan.manager import ManagerController
from nodespan.controllers.kubespan.nat import NATController
from nodespan.controllers.kubespan.paths.controller import PathController
from nodespan.controllers.kubespan.paths.routes import PathRouteController
from nodespan.controllers.kubespan.peer import PeerController
from nodespan.controllers.kubespan.peer_spec import PeerSpecController
from nodespan.controllers.kubespan.peer_status import PeerStatusController
from nodespan.controllers.kubespan.port_mapping import PortMappingController
from nodespan.controllers.kubespan.relay import RelayController
from nodespan.controllers.kubespan.trials import KernelTrials
from nodespan.runtime.plugins import AnyController, Settings


def controllers(settings: Settings) -> list[AnyController]:
    """What the entry point of the family stands for."""
    settings.publish(metrics.METRICS)
    device = WireguardDevice()
    mapping = PortMappingController(settings.state_dir)
    settings.left_behind.append(mapping.left_behind)
    return [
        ConfigController(),
        IdentityController(settings.state_dir),
        PeerSpecController(),
        PeerStatusController(device),
        ManagerController(),
        DiscoveryPathController(),
        PeerController(),
        EndpointController(),
        NATController(),
        RelayController(KernelTrials(device)),
        mapping,
        PathController(),
        PathRouteController(),
    ]


__all__ = [
    "ConfigController",
    "DiscoveryPathController",
    "EndpointController",
    "IdentityController",
    "ManagerController",
    "NATController",
    "PathController",
    "PathRouteController",
    "PeerController",
    "PeerSpecController",
    "PeerStatusController",
    "PortMappingController",
    "RelayController",
    "controllers",
]
