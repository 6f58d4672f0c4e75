"""The agent on the network: the State service, what is served of the original's machine API, and its trust service."""

from collections.abc import Iterable

from nodespan.controllers.api.lazy_issuer import LazyIssuer
from nodespan.controllers.api.server import ServerController
from nodespan.controllers.secrets.api import APIController
from nodespan.controllers.secrets.cert_sans import APICertSANsController
from nodespan.controllers.secrets.os_root import RootOSController
from nodespan.runtime.plugins import AnyController, Settings


def controllers(settings: Settings) -> Iterable[AnyController]:
    """The controllers of this family, and of its trust, for their entry point."""
    return [
        RootOSController(),
        APICertSANsController(),
        APIController(LazyIssuer()),
        ServerController(settings.agent, state_dir=settings.state_dir),
    ]


__all__ = ["controllers"]
