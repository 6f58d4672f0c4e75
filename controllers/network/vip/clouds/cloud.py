"""What an operator of a virtual IP does with a cloud, whichever it is."""

import random
from typing import Protocol

from nodespan.controllers.common.web_access import WebAccess
from nodespan.controllers.network.vip.clouds.api import Access, Permit
from nodespan.controllers.network.vip.clouds.endpoints import Endpoints
from nodespan.resources.network import VIPOperatorSpec


class Cloud(Protocol):
    """One virtual IP at one cloud. All calls are bounded in time, may be cancelled, and raise CloudError."""

    async def resolve(self) -> None:
        """Find out which machine this is, and where the address belongs; what is known is not asked again."""
        ...

    async def acquire(self, permit: Permit) -> None:
        """Have the address led to this node; idempotent. Raises what `permit` raises before each change."""
        ...

    async def is_ours(self) -> bool:
        """Whether the address is led to this node."""
        ...

    async def release(self) -> None:
        """Have it led here no longer, where the cloud knows such a state. Touches nothing of other nodes."""
        ...


def cloud_of(
    vip: VIPOperatorSpec, endpoints: Endpoints, access: Access = WebAccess, source: random.Random | None = None
) -> Cloud | None:
    """The cloud that has to route a virtual IP, None for none. `access` is asked at each request how it is reached."""
    if vip.equinix_metal is not None:
        from nodespan.controllers.network.vip.clouds.equinix_metal import EquinixMetal

        return EquinixMetal(vip.ip, vip.equinix_metal, endpoints, access, source)
    if vip.hcloud is not None:
        from nodespan.controllers.network.vip.clouds.hcloud import HCloud

        return HCloud(vip.ip, vip.hcloud, endpoints, access, source)
    return None
