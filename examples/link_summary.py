"""Example: one output per link, without a loop of your own.

    nodespan agent --controllers examples.link_summary:controllers
    nodespan get linksummaries -w
    nodespan get linksummaries -l medium=hardware

A queue transform is called for the link that changed and for no other, so it costs the same on a machine with three
links and on one with three thousand. It destroys the output when the link goes.
"""

import attrs

from nodespan.resources.network import LinkStatus, LinkStatusSpec
from nodespan.runtime.controller import Access, Draft, QueueTransform
from nodespan.runtime.plugins import Settings
from nodespan.runtime.resource import Resource, ResourceType


@attrs.frozen(kw_only=True)
class LinkSummarySpec:
    """A link in a few words."""

    text: str


LinkSummary = ResourceType(
    "LinkSummaries.example.dev", LinkSummarySpec, singular="LinkSummary", namespace="example", columns={"Text": ".text"}
)


def describe(link: LinkStatusSpec) -> str:
    """The rule, apart from everything else."""
    return f"{link.kind or link.type.value}, {link.operational_state.value}, MTU {link.mtu}"


def summarize(_ctx: Access, link: Resource[LinkStatusSpec]) -> Draft[LinkSummarySpec]:
    """From input to output. A transform that needs no labels returns the spec alone."""
    medium = "hardware" if link.spec.physical else "software"
    return Draft(LinkSummarySpec(text=describe(link.spec)), labels={"medium": medium})


def controllers(_settings: Settings) -> QueueTransform[LinkStatusSpec, LinkSummarySpec]:
    """What --controllers or an entry point names: called once with the agent's settings."""
    return QueueTransform("example.LinkSummaryController", input=LinkStatus, output=LinkSummary, transform=summarize)
