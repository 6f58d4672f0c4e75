"""Controllers of KubeSpan, a full mesh of WireGuard tunnels between the nodes of a cluster, and their rules."""

from controllers.kubespan.config import ConfigController
from controllers.kubespan.device import WireguardDevice
from controllers.kubespan.endpoint import EndpointController
from controllers.kubespan.identity import IdentityController
from controllers.kubespan.manager import ManagerController
from controllers.kubespan.peer import PeerController
from controllers.kubespan.peer_spec import PeerSpecController
from controllers.kubespan.peer_status import PeerStatusController
from runtime.plugins import AnyController, Settings


def controllers(settings: Settings) -> list[AnyController]:
    """What the entry point of the family stands for."""
    return [
        ConfigController(),
        IdentityController(settings.state_dir),
        PeerSpecController(),
        PeerStatusController(WireguardDevice()),
        ManagerController(),
        PeerController(),
        EndpointController(),
    ]


__all__ = [
    "ConfigController",
    "EndpointController",
    "IdentityController",
    "ManagerController",
    "PeerController",
    "PeerSpecController",
    "PeerStatusController",
    "controllers",
]
