"""network.OperatorConfigController: the links on which DHCP clients run."""

from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Any

from nodespan.controllers.common.link_settings.vlan_name import vlan_link_name
from nodespan.controllers.network.config.derivation import Derivation, DerivationContext
from nodespan.controllers.network.config.derived_outputs import Requested
from nodespan.controllers.network.config.implicit_links import implicit_links
from nodespan.resources.config.device import DEFAULT_ROUTE_METRIC, Device, DhcpOptions
from nodespan.resources.config.network import ClientIdentifier, DHCPv4Config, DHCPv6Config
from nodespan.resources.network import (
    CONFIG_NAMESPACE,
    ClientIdentifierSpec,
    ConfigLayer,
    DHCP4OperatorSpec,
    DHCP6OperatorSpec,
    LinkSpec,
    Operator,
    OperatorSpec,
    OperatorSpecSpec,
    layered_id,
    operator_id,
)
from nodespan.runtime.controller import QueueContext, mapped

_LINKS = LinkSpec.within(CONFIG_NAMESPACE)
# A link that is configured in one of these layers gets no default DHCP client.
_DECIDING_LAYERS = (ConfigLayer.CMDLINE, ConfigLayer.PLATFORM, ConfigLayer.CONFIGURATION)


def dhcp4(link_name: str, layer: ConfigLayer, options: DHCP4OperatorSpec | None = None) -> OperatorSpecSpec:
    """A DHCPv4 client on a link."""
    return OperatorSpecSpec(
        operator=Operator.DHCP4,
        link_name=link_name,
        require_up=True,
        dhcp4=options or DHCP4OperatorSpec(route_metric=DEFAULT_ROUTE_METRIC),
        layer=layer,
    )


def dhcp6(link_name: str, layer: ConfigLayer, options: DHCP6OperatorSpec) -> OperatorSpecSpec:
    """A DHCPv6 client on a link."""
    return OperatorSpecSpec(operator=Operator.DHCP6, link_name=link_name, require_up=True, dhcp6=options, layer=layer)


def operators_of_device(device: Device, link_name: str) -> Iterator[OperatorSpecSpec]:
    """The DHCP clients of a device, whose link has this name, and of its VLANs."""
    if device.dhcp:
        yield from _clients(link_name, device.dhcp_options or DhcpOptions())
    for vlan in device.vlans:
        if vlan.dhcp:
            name = vlan_link_name(device.interface, vlan.vlan_id)
            yield from _clients(name, vlan.dhcp_options or DhcpOptions())


def _clients(link_name: str, options: DhcpOptions) -> Iterator[OperatorSpecSpec]:
    metric = options.route_metric or DEFAULT_ROUTE_METRIC
    if options.ipv4:
        yield dhcp4(link_name, ConfigLayer.CONFIGURATION, DHCP4OperatorSpec(route_metric=metric))
    if options.ipv6:
        client = ClientIdentifierSpec()
        if options.duidv6:
            client = ClientIdentifierSpec(client_identifier=ClientIdentifier.DUID, duid_raw=_hex(options.duidv6))
        settings = DHCP6OperatorSpec(route_metric=metric, client_identifier=client)
        yield dhcp6(link_name, ConfigLayer.CONFIGURATION, settings)


def operator_of_document(document: DHCPv4Config | DHCPv6Config, link_name: str) -> OperatorSpecSpec:
    """The DHCP client of a document."""
    metric = document.route_metric or DEFAULT_ROUTE_METRIC
    client = ClientIdentifierSpec(client_identifier=document.client_identifier, duid_raw=_hex(document.duid_raw))
    if isinstance(document, DHCPv4Config):
        options = DHCP4OperatorSpec(
            route_metric=metric,
            skip_hostname_request=document.ignore_hostname,
            skip_routes=document.ignore_routes,
            client_identifier=client,
        )
        return dhcp4(link_name, ConfigLayer.CONFIGURATION, options)
    settings = DHCP6OperatorSpec(
        route_metric=metric, skip_hostname_request=document.ignore_hostname, client_identifier=client
    )
    return dhcp6(link_name, ConfigLayer.CONFIGURATION, settings)


def _hex(text: str) -> str:
    return text.replace(":", "").lower()


class OperatorConfigController(Derivation[OperatorSpecSpec, OperatorSpecSpec]):
    """DHCP on links that are configured so and, if defaults are enabled, on NICs that nothing configures."""

    name = "network.OperatorConfigController"
    type = OperatorSpec
    documents = (DHCPv4Config, DHCPv6Config)
    more_inputs = (mapped(_LINKS),)

    def request(self, part: Any, context: DerivationContext) -> Requested[OperatorSpecSpec]:
        """The DHCP clients of a part."""
        resolve = context.links.resolve
        if isinstance(part, Device):
            return _requested(operators_of_device(part, resolve(part.interface)))
        return _requested((operator_of_document(part, resolve(part.name)),))

    def combine(self, requests: Sequence[OperatorSpecSpec]) -> OperatorSpecSpec:
        """The last: documents refine devices."""
        return requests[-1]

    def depends_on(self, context: DerivationContext) -> Hashable:
        """Aliases decide which links the names refer to."""
        return frozenset(context.links.aliases.items())

    def from_cmdline(self, context: DerivationContext) -> Requested[OperatorSpecSpec]:
        """The links with DHCP of `ip=`; an error further back in the command line does not undo these."""
        names = (context.links.resolve(name) if name else context.links.first for name in context.cmdline.dhcp_links)
        return _requested(dhcp4(name, ConfigLayer.CMDLINE) for name in names if name and name not in context.ignored)

    def defaults(self, ctx: QueueContext, context: DerivationContext) -> Requested[OperatorSpecSpec]:
        """DHCPv4 on the NICs that nothing configures."""
        decided = {link.spec.name for link in ctx.list(_LINKS) if link.spec.layer in _DECIDING_LAYERS}
        names = (name for name in implicit_links(context) if name not in decided)
        return _requested(dhcp4(name, ConfigLayer.DEFAULT) for name in names)


def _requested(specs: Iterable[OperatorSpecSpec]) -> Requested[OperatorSpecSpec]:
    return Requested(outputs=tuple((layered_id(spec.layer, operator_id(spec)), spec) for spec in specs))
