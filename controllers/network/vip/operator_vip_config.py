"""network.OperatorVIPConfigController: an operator for each virtual IP of which this node is a candidate."""

import ipaddress
from collections.abc import Hashable, Iterator, Sequence
from typing import Any

import attrs

from nodespan.controllers.common.link_settings.vlan_name import vlan_link_name
from nodespan.controllers.network.config.derivation import Derivation, DerivationContext
from nodespan.controllers.network.config.derived_outputs import Requested
from nodespan.resources.config import MachineConfigSpec
from nodespan.resources.config.device import Device, Vip
from nodespan.resources.config.network import HCloudVIPConfig, Layer2VIPConfig
from nodespan.resources.network import (
    ConfigLayer,
    Operator,
    OperatorSpec,
    OperatorSpecSpec,
    VIPEquinixMetalSpec,
    VIPHCloudSpec,
    VIPOperatorSpec,
    layered_id,
    operator_id,
)

_LAYER = ConfigLayer.CONFIGURATION


@attrs.frozen
class _Clouds:
    """The clouds that have to route a virtual IP: at most one."""

    equinix_metal: VIPEquinixMetalSpec | None = None
    hcloud: VIPHCloudSpec | None = None


_NO_CLOUD = _Clouds()


def vip_operator(link_name: str, ip: str, clouds: _Clouds = _NO_CLOUD) -> OperatorSpecSpec:
    """The operator for an address that the elected node announces on its link, or has a cloud route. Raises ValueError.

    Which machine a cloud knows this one as is found out by the operator, when it is about to stand for election.
    """
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        raise ValueError(f"the virtual IP {ip!r} is not an IP address") from None
    return OperatorSpecSpec(
        operator=Operator.VIP,
        link_name=link_name,
        require_up=True,
        vip=VIPOperatorSpec(
            ip=str(address),
            gratuitous_arp=clouds == _NO_CLOUD,
            equinix_metal=clouds.equinix_metal,
            hcloud=clouds.hcloud,
        ),
        layer=_LAYER,
    )


def clouds_of(vip: Vip) -> _Clouds:
    """The cloud whose routing a virtual IP relies on; the originals take the first of two."""
    if vip.equinix_metal is not None:
        return _Clouds(equinix_metal=VIPEquinixMetalSpec(api_token=vip.equinix_metal.api_token))
    if vip.hcloud is not None:
        return _Clouds(hcloud=VIPHCloudSpec(api_token=vip.hcloud.api_token))
    return _NO_CLOUD


# The link of a virtual IP, its address, and the cloud.
_Written = tuple[str, str, _Clouds]


def written_vips(part: object, context: DerivationContext) -> Iterator[_Written]:
    """The virtual IPs of a part; none of the main document on links that the kernel command line excludes."""
    resolve = context.links.resolve
    match part:
        case Device():
            name = resolve(part.interface)
            of_links = [(name, part.vip)]
            of_links += [(vlan_link_name(part.interface, vlan.vlan_id), vlan.vip) for vlan in part.vlans]
            left_alone = {resolve(ignored) for ignored in context.cmdline.ignored_interfaces}
            for link_name, vip in of_links:
                if vip is not None and not left_alone & {name, link_name}:
                    yield link_name, vip.ip, clouds_of(vip)
        case Layer2VIPConfig():
            yield resolve(part.link), part.name, _NO_CLOUD
        case HCloudVIPConfig():
            yield resolve(part.link), part.name, _Clouds(hcloud=VIPHCloudSpec(api_token=part.api_token))


def takes_part(machine: MachineConfigSpec) -> bool:
    """Whether this node stands for election: not as a worker. A configuration without a machine section may."""
    return machine.main.machine is None or machine.machine.type.is_control_plane


def requested_vips(part: object, context: DerivationContext) -> Requested[OperatorSpecSpec]:
    """The operators of a part."""
    if not takes_part(context.machine):
        return Requested()
    requests: list[tuple[str, OperatorSpecSpec]] = []
    problems: list[tuple[str, str]] = []
    for link_name, ip, clouds in written_vips(part, context):
        if link_name in context.ignored:
            continue
        try:
            spec = vip_operator(link_name, ip, clouds)
        except ValueError as error:
            problems.append((layered_id(_LAYER, f"vip/{link_name}/{ip}"), str(error)))
            continue
        requests.append((layered_id(_LAYER, operator_id(spec)), spec))
    return Requested(outputs=tuple(requests), problems=tuple(problems))


class OperatorVIPConfigController(Derivation[OperatorSpecSpec, OperatorSpecSpec]):
    """Virtual IPs of devices, of their VLANs, and of documents."""

    name = "network.OperatorVIPConfigController"
    type = OperatorSpec
    documents = (Layer2VIPConfig, HCloudVIPConfig)

    def request(self, part: Any, context: DerivationContext) -> Requested[OperatorSpecSpec]:
        """See `requested_vips`."""
        return requested_vips(part, context)

    def combine(self, requests: Sequence[OperatorSpecSpec]) -> OperatorSpecSpec:
        """The first of them: all are equal."""
        return requests[0]

    def depends_on(self, context: DerivationContext) -> Hashable:
        """Aliases, links that are left alone, and the type of the machine."""
        aliases = frozenset(context.links.aliases.items())
        return context.cmdline.ignored_interfaces, aliases, takes_part(context.machine)
