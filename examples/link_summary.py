"""Example: one output per link, made anew only for the link that changed.

    nodespan agent --controllers examples.link_summary:LinkSummaryController
    nodespan get linksummaries -w
    nodespan get linksummaries -l medium=hardware

A queue controller is called for each item by itself. A change costs the same on a machine with three links and on one
with three thousand.
"""

from typing import Any

import attrs

from resources.network import LinkStatus, LinkStatusSpec
from runtime.controller import QueueContext, QueueController, exclusive, primary
from runtime.resource import Pointer, ResourceType


@attrs.frozen(kw_only=True)
class LinkSummarySpec:
    """A link in a few words."""

    text: str


LinkSummary = ResourceType("LinkSummaries.example.dev", LinkSummarySpec, namespace="example", columns={"Text": ".text"})


class LinkSummaryController(QueueController):
    """Writes one summary per link, of the same id."""

    name = "example.LinkSummaryController"
    inputs = (primary(LinkStatus),)
    outputs = (exclusive(LinkSummary),)

    async def reconcile(self, ctx: QueueContext, item: Pointer[Any]) -> None:
        """Make the summary of one link right. What happened to the link is not said, and need not be known."""
        link = ctx.find(LinkStatus, item.id)
        if link is not None:
            labels = {"medium": "hardware" if link.spec.physical else "software"}
            await ctx.put(LinkSummary, item.id, LinkSummarySpec(text=summary(link.spec)), labels=labels)
        elif ctx.find(LinkSummary, item.id) is not None:
            await ctx.destroy(LinkSummary, item.id)


def summary(link: LinkStatusSpec) -> str:
    """`veth, up, MTU 1500`."""
    return f"{link.kind or link.type.value}, {link.operational_state.value}, MTU {link.mtu}"
