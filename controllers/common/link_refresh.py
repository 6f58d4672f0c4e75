"""Requests that WireGuard links are read again: the kernel does not notify changes of their peers."""

import attrs

from nodespan.resources.network import WIREGUARD_REFRESH, LinkRefresh, LinkRefreshSpec
from nodespan.runtime.controller import Access
from nodespan.runtime.resource import Resource


async def ask_for_refresh(ctx: Access) -> None:
    """Request current statuses of WireGuard links. Several controllers do, so the resource has no owner."""
    await ctx.modify(LinkRefresh.new(WIREGUARD_REFRESH, LinkRefreshSpec()), _next, owned=False)


def _next(refresh: Resource[LinkRefreshSpec]) -> Resource[LinkRefreshSpec]:
    return refresh.with_spec(attrs.evolve(refresh.spec, generation=refresh.spec.generation + 1))
