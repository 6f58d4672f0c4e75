"""network.AddressConfigController: the addresses that configuration and kernel line name, as they are wanted."""

from collections.abc import Sequence
from typing import Any

from nodespan.controllers.network.config.address_parts import ask_addresses, loopback_address
from nodespan.controllers.network.config.cmdline_parts import cmdline_addresses
from nodespan.controllers.network.config.derivation import Derivation, Scene
from nodespan.controllers.network.config.derived import Asked
from nodespan.resources.config.links import LinkSettings
from nodespan.resources.network import AddressSpec, AddressSpecSpec, address_id, layered_id
from nodespan.runtime.controller import QueueContext


class AddressConfigController(Derivation[AddressSpecSpec, AddressSpecSpec]):
    """Links are named as written: whoever applies the addresses finds them by any of their names."""

    name = "network.AddressConfigController"
    type = AddressSpec
    documents = (LinkSettings,)

    def ask(self, part: Any, scene: Scene) -> Asked[AddressSpecSpec]:  # noqa: ARG002
        """See `ask_addresses`."""
        return ask_addresses(part)

    def combine(self, wishes: Sequence[AddressSpecSpec]) -> AddressSpecSpec:
        """The last: documents refine devices."""
        return wishes[-1]

    def of_cmdline(self, scene: Scene) -> Asked[AddressSpecSpec]:
        """The addresses of `ip=`, and what is wrong with the kernel line."""
        specs = cmdline_addresses(scene.cmdline, scene.links)
        return Asked(
            wishes=tuple((_id(spec), spec) for spec in specs if spec.link_name not in scene.ignored),
            problems=(("cmdline", f"the kernel line: {scene.cmdline.error}"),) if scene.cmdline.error else (),
        )

    def defaults(self, ctx: QueueContext, scene: Scene) -> Asked[AddressSpecSpec]:  # noqa: ARG002
        """What lo has."""
        spec = loopback_address()
        return Asked(wishes=((_id(spec), spec),))


def _id(spec: AddressSpecSpec) -> str:
    return layered_id(spec.layer, address_id(spec.link_name, spec.address))
