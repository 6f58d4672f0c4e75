"""Asking for WireGuard links to be read again: the kernel tells nothing of what happens to them."""

import attrs

from nodespan.resources.network import WIREGUARD_REFRESH, LinkRefresh, LinkRefreshSpec
from nodespan.runtime.controller import Access
from nodespan.runtime.resource import Resource


async def ask_for_refresh(ctx: Access) -> None:
    """Have WireGuard links shown as they are now. Several controllers ask, so the resource is nobody's own."""
    await ctx.modify(LinkRefresh.new(WIREGUARD_REFRESH, LinkRefreshSpec()), _next, owned=False)


def _next(refresh: Resource[LinkRefreshSpec]) -> Resource[LinkRefreshSpec]:
    return refresh.with_spec(attrs.evolve(refresh.spec, generation=refresh.spec.generation + 1))
