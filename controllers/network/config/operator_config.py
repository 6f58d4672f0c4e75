"""network.OperatorConfigController: where DHCP is wanted."""

from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Any

from nodespan.controllers.common.vlan_name import vlan_link_name
from nodespan.controllers.network.config.derivation import Derivation, Scene
from nodespan.controllers.network.config.derived import Asked
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
# Whoever says something about a link in one of these decides how it gets its addresses.
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
    """DHCP on links that ask for it, and, where the defaults of the originals are wanted, on NICs nothing mentions."""

    name = "network.OperatorConfigController"
    type = OperatorSpec
    documents = (DHCPv4Config, DHCPv6Config)
    more_inputs = (mapped(_LINKS),)

    def ask(self, part: Any, scene: Scene) -> Asked[OperatorSpecSpec]:
        """The DHCP clients of a part."""
        resolve = scene.links.resolve
        if isinstance(part, Device):
            return _asked(operators_of_device(part, resolve(part.interface)))
        return _asked((operator_of_document(part, resolve(part.name)),))

    def combine(self, wishes: Sequence[OperatorSpecSpec]) -> OperatorSpecSpec:
        """The last: documents refine devices."""
        return wishes[-1]

    def context(self, scene: Scene) -> Hashable:
        """Aliases decide which links are meant."""
        return frozenset(scene.links.aliases.items())

    def of_cmdline(self, scene: Scene) -> Asked[OperatorSpecSpec]:
        """The links with DHCP of `ip=`; a mistake further back in the line does not undo these."""
        names = (scene.links.resolve(name) if name else scene.links.first for name in scene.cmdline.dhcp_links)
        return _asked(dhcp4(name, ConfigLayer.CMDLINE) for name in names if name and name not in scene.ignored)

    def defaults(self, ctx: QueueContext, scene: Scene) -> Asked[OperatorSpecSpec]:
        """DHCPv4 on the NICs that nothing mentions."""
        decided = {link.spec.name for link in ctx.list(_LINKS) if link.spec.layer in _DECIDING_LAYERS}
        names = (name for name in implicit_links(scene) if name not in decided)
        return _asked(dhcp4(name, ConfigLayer.DEFAULT) for name in names)


def _asked(specs: Iterable[OperatorSpecSpec]) -> Asked[OperatorSpecSpec]:
    return Asked(wishes=tuple((layered_id(spec.layer, operator_id(spec)), spec) for spec in specs))
