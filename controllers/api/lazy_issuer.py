"""The trust service of the control planes, loaded by a node that asks it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nodespan.resources.secrets import CertSANSpec, OSRootSpec
from nodespan.runtime.loading import load

if TYPE_CHECKING:
    from nodespan.controllers.api.issuer import TrustService
    from nodespan.controllers.secrets.key_pair import KeyPair


class LazyIssuer:
    """Asks as `issuer.TrustService` does."""

    def __init__(self) -> None:
        self._service: TrustService | None = None

    async def issue(self, root: OSRootSpec, sans: CertSANSpec, control_planes: Sequence[str]) -> "KeyPair":
        """A certificate for these names. Raises IssuerError."""
        await load("nodespan.controllers.api.issuer")
        from nodespan.controllers.api.issuer import TrustService

        if self._service is None:
            self._service = TrustService()
        return await self._service.issue(root, sans, control_planes)
