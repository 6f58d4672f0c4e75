"""Controllers of KubeSpan: a full mesh of WireGuard tunnels between the nodes of a cluster, and the rules they follow."""

from controllers.kubespan.config import ConfigController
from controllers.kubespan.endpoint import EndpointController
from controllers.kubespan.identity import IdentityController
from controllers.kubespan.manager import ManagerController
from controllers.kubespan.peer import PeerController
from controllers.kubespan.peer_spec import PeerSpecController
from controllers.kubespan.peer_status import PeerStatusController

__all__ = [
    "ConfigController",
    "EndpointController",
    "IdentityController",
    "ManagerController",
    "PeerController",
    "PeerSpecController",
    "PeerStatusController",
]
