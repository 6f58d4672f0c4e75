"""network.AddressConfigController: the addresses that the configuration and the kernel command line request."""

from collections.abc import Sequence
from typing import Any

from nodespan.controllers.network.config.address_parts import loopback_address, requested_addresses
from nodespan.controllers.network.config.cmdline_parts import cmdline_addresses
from nodespan.controllers.network.config.derivation import Derivation, DerivationContext
from nodespan.controllers.network.config.derived_outputs import Requested
from nodespan.resources.config.links import LinkSettings
from nodespan.resources.network import AddressSpec, AddressSpecSpec, address_id, layered_id
from nodespan.runtime.controller import QueueContext


class AddressConfigController(Derivation[AddressSpecSpec, AddressSpecSpec]):
    """Links keep the names as written: the controller that applies the addresses resolves aliases."""

    name = "network.AddressConfigController"
    type = AddressSpec
    documents = (LinkSettings,)

    def request(self, part: Any, context: DerivationContext) -> Requested[AddressSpecSpec]:  # noqa: ARG002
        """See `requested_addresses`."""
        return requested_addresses(part)

    def combine(self, requests: Sequence[AddressSpecSpec]) -> AddressSpecSpec:
        """The last: documents refine devices."""
        return requests[-1]

    def from_cmdline(self, context: DerivationContext) -> Requested[AddressSpecSpec]:
        """The addresses of `ip=`, and the error of the kernel command line."""
        specs = cmdline_addresses(context.cmdline, context.links)
        return Requested(
            outputs=tuple((_id(spec), spec) for spec in specs if spec.link_name not in context.ignored),
            problems=(("cmdline", f"the kernel command line: {context.cmdline.error}"),)
            if context.cmdline.error
            else (),
        )

    def defaults(self, ctx: QueueContext, context: DerivationContext) -> Requested[AddressSpecSpec]:  # noqa: ARG002
        """The address of lo."""
        spec = loopback_address()
        return Requested(outputs=((_id(spec), spec),))


def _id(spec: AddressSpecSpec) -> str:
    return layered_id(spec.layer, address_id(spec.link_name, spec.address))
