"""network.LinkConfigController: the links that the configuration and the kernel line name, as they are wanted."""

from collections.abc import Hashable, Iterable, Sequence
from typing import Any

from nodespan.controllers.network.config.cmdline_parts import cmdline_links
from nodespan.controllers.network.config.derivation import Derivation, Scene
from nodespan.controllers.network.config.derived import Asked
from nodespan.controllers.network.config.implicit_links import implicit_links
from nodespan.controllers.network.config.link_parts import LINK_DOCUMENTS, LinkPart, combine_parts, parts_of
from nodespan.resources.network import ConfigLayer, LinkSpec, LinkSpecSpec, layered_id
from nodespan.runtime.controller import QueueContext


class LinkConfigController(Derivation[LinkPart, LinkSpecSpec]):
    """Writes to layer configuration and cmdline, and, where the defaults of the originals are asked for, to default."""

    name = "network.LinkConfigController"
    type = LinkSpec
    documents = LINK_DOCUMENTS

    def ask(self, part: Any, scene: Scene) -> Asked[LinkPart]:
        """What a part wants of links, without those that are ignored."""
        try:
            return _asked(parts_of(part, scene.links.resolve), scene.ignored)
        except ValueError as error:
            name = getattr(part, "name", "") or getattr(part, "interface", "")
            return Asked(problems=((layered_id(ConfigLayer.CONFIGURATION, name), str(error)),))

    def combine(self, wishes: Sequence[LinkPart]) -> LinkSpecSpec:
        """See `combine_parts`."""
        return combine_parts(wishes)

    def context(self, scene: Scene) -> Hashable:
        """Aliases decide which links are meant."""
        return frozenset(scene.links.aliases.items())

    def of_cmdline(self, scene: Scene) -> Asked[LinkPart]:
        """The links of `ip=`, `bond=` and `vlan=`."""
        return _asked(map(LinkPart, cmdline_links(scene.cmdline, scene.links)), scene.ignored)

    def defaults(self, ctx: QueueContext, scene: Scene) -> Asked[LinkPart]:  # noqa: ARG002
        """The loopback, and the NICs that nothing mentions."""
        names = ("lo", *implicit_links(scene))
        return _asked(
            (LinkPart(LinkSpecSpec(name=name, up=True, layer=ConfigLayer.DEFAULT)) for name in names), scene.ignored
        )


def _asked(parts: Iterable[LinkPart], ignored: frozenset[str]) -> Asked[LinkPart]:
    return Asked(
        wishes=tuple(
            (layered_id(part.spec.layer, part.spec.name), part) for part in parts if part.spec.name not in ignored
        )
    )
