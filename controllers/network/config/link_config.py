"""network.LinkConfigController: the links that the configuration and the kernel command line request."""

from collections.abc import Hashable, Iterable, Sequence
from typing import Any

from nodespan.controllers.common.disagreement import Disagreement
from nodespan.controllers.network.config.cmdline_parts import cmdline_links
from nodespan.controllers.network.config.derivation import Derivation, DerivationContext
from nodespan.controllers.network.config.derived_outputs import Requested
from nodespan.controllers.network.config.implicit_links import implicit_links
from nodespan.controllers.network.config.link_parts import (
    LINK_DOCUMENTS,
    LinkPart,
    combine_parts,
    link_disagreements,
    parts_of,
)
from nodespan.resources.network import ConfigLayer, LinkSpec, LinkSpecSpec, layered_id
from nodespan.runtime.controller import QueueContext


class LinkConfigController(Derivation[LinkPart, LinkSpecSpec]):
    """Writes to the layers configuration and cmdline, and to default if the configuration enables defaults."""

    name = "network.LinkConfigController"
    type = LinkSpec
    documents = LINK_DOCUMENTS

    def request(self, part: Any, context: DerivationContext) -> Requested[LinkPart]:
        """The links of a part, without ignored ones."""
        try:
            return _requested(parts_of(part, context.links.resolve), context.ignored)
        except ValueError as error:
            name = getattr(part, "name", "") or getattr(part, "interface", "")
            return Requested(problems=((layered_id(ConfigLayer.CONFIGURATION, name), str(error)),))

    def combine(self, requests: Sequence[LinkPart]) -> LinkSpecSpec:
        """See `combine_parts`."""
        return combine_parts(requests)

    def disagreements(self, one: LinkPart, other: LinkPart) -> tuple[Disagreement, ...]:
        """See `link_disagreements`."""
        return link_disagreements(one, other)

    def depends_on(self, context: DerivationContext) -> Hashable:
        """Aliases decide which links the names refer to."""
        return frozenset(context.links.aliases.items())

    def from_cmdline(self, context: DerivationContext) -> Requested[LinkPart]:
        """The links of `ip=`, `bond=` and `vlan=`."""
        return _requested(map(LinkPart, cmdline_links(context.cmdline, context.links)), context.ignored)

    def defaults(self, ctx: QueueContext, context: DerivationContext) -> Requested[LinkPart]:  # noqa: ARG002
        """The loopback, and the NICs that nothing configures."""
        names = ("lo", *implicit_links(context))
        return _requested(
            (LinkPart(LinkSpecSpec(name=name, up=True, layer=ConfigLayer.DEFAULT)) for name in names), context.ignored
        )


def _requested(parts: Iterable[LinkPart], ignored: frozenset[str]) -> Requested[LinkPart]:
    return Requested(
        outputs=tuple(
            (layered_id(part.spec.layer, part.spec.name), part) for part in parts if part.spec.name not in ignored
        )
    )
