"""The documents of links, but for bonds and WireGuard: what all of them have in common, and each kind; aliases."""

from collections.abc import Iterator

from nodespan.controllers.common.quoting import quote
from nodespan.controllers.config.finding import Finding, at, under, warn
from nodespan.controllers.config.notation import IP_HINT, is_cidr, is_ip, is_mac, is_multicast, is_unspecified
from nodespan.controllers.config.rules.base import RuleSet, check_made_name, check_mtu, required
from nodespan.controllers.config.rules.routing import HIGHEST_TABLE, check_link_route, is_number
from nodespan.resources.config.links import (
    BridgeConfig,
    CommonLink,
    DummyLinkConfig,
    LinkAliasConfig,
    LinkConfig,
    LinkSettings,
    MacVLANConfig,
    MacvlanMode,
    VethConfig,
    VLANConfig,
    VRFConfig,
    VXLANConfig,
)

_HIGHEST_VLAN = 4094
_HIGHEST_VNI = (1 << 24) - 1
_SYSTEM_TABLES = (253, 254, 255)
_EXPRESSION_HINT = 'write it like link.driver == "virtio_net" && glob("00:1a:2b:*", mac(link.permanent_addr))'

RULES = RuleSet()


def check_common(link: CommonLink) -> Iterator[Finding]:
    """The name, addresses and routes of a link."""
    yield from required(link, ("name", link.name))
    yield from _check_settings(link)


def check_made_link(link: CommonLink) -> Iterator[Finding]:
    """The same of a link that its document makes."""
    yield from check_common(link)
    yield from check_made_name("name", link.name)


def _check_settings(link: LinkSettings) -> Iterator[Finding]:
    for index, address in enumerate(link.addresses):
        if not is_cidr(address.address):
            message = f"{quote(address.address)} is not an address with a prefix length"
            yield at("addresses", index, "address", message=message, hint="write it like 10.0.0.5/24 or fd00::5/64")
    yield from check_mtu(link.mtu, (address.address for address in link.addresses))
    for index, route in enumerate(link.routes):
        yield from under(("routes", index), check_link_route(route))


def check_hardware_addr(text: str) -> Iterator[Finding]:
    """The `hardwareAddr` of a link, "" if it has none."""
    if text and not is_mac(text):
        message = f"{quote(text)} is not a hardware address"
        yield at("hardwareAddr", message=message, hint="write it like 02:00:5e:10:00:01")


@RULES.document(LinkConfig)
def check_link(link: LinkConfig) -> Iterator[Finding]:
    """LinkConfig."""
    yield from check_common(link)


@RULES.document(VLANConfig)
def check_vlan_config(vlan: VLANConfig) -> Iterator[Finding]:
    """VLANConfig."""
    yield from check_made_link(vlan)
    yield from required(vlan, ("parent", vlan.parent))
    if not 1 <= vlan.vlan_id <= _HIGHEST_VLAN:
        yield at("vlanID", message=f"vlanID {vlan.vlan_id} is not between 1 and {_HIGHEST_VLAN}")


@RULES.document(BridgeConfig)
def check_bridge_config(bridge: BridgeConfig) -> Iterator[Finding]:
    """BridgeConfig."""
    yield from check_made_link(bridge)
    yield from check_hardware_addr(bridge.hardware_addr)


@RULES.document(DummyLinkConfig)
def check_dummy(dummy: DummyLinkConfig) -> Iterator[Finding]:
    """DummyLinkConfig."""
    yield from check_made_link(dummy)
    yield from check_hardware_addr(dummy.hardware_addr)


@RULES.document(VRFConfig)
def check_vrf_config(vrf: VRFConfig) -> Iterator[Finding]:
    """VRFConfig. Its table is its own, so it cannot be one that the system uses."""
    yield from check_made_link(vrf)
    yield from check_hardware_addr(vrf.hardware_addr)
    yield from required(vrf, ("table", vrf.table))
    if vrf.table and not (is_number(vrf.table, 1, HIGHEST_TABLE) and int(vrf.table) not in _SYSTEM_TABLES):
        message = f"{quote(vrf.table)} is not the number of a routing table that is free"
        yield at("table", message=message, hint="write a number other than 253, 254 and 255, like 100")


@RULES.document(VethConfig)
def check_veth_config(veth: VethConfig) -> Iterator[Finding]:
    """VethConfig: both ends."""
    yield from check_made_link(veth)
    if not veth.peer.name:
        yield at("peer", "name", message="VethConfig needs peer.name")
    elif veth.peer.name == veth.name:
        yield at("peer", "name", message=f"both ends are named {quote(veth.name)}", hint="choose another name")
    yield from under(("peer",), check_made_name("name", veth.peer.name))
    yield from under(("peer",), _check_settings(veth.peer))


@RULES.document(MacVLANConfig)
def check_macvlan_config(macvlan: MacVLANConfig) -> Iterator[Finding]:
    """MacVLANConfig."""
    yield from check_made_link(macvlan)
    yield from check_hardware_addr(macvlan.hardware_addr)
    yield from required(macvlan, ("parent", macvlan.parent))
    yield from _check_not_on_itself(macvlan.name, macvlan.parent)
    if macvlan.mode is MacvlanMode.SOURCE:
        message = "the mode source needs a list of hardware addresses, for which the document has no key"
        yield at("mode", message=message, hint="write private, vepa, bridge or passthru")


@RULES.document(VXLANConfig)
def check_vxlan_config(vxlan: VXLANConfig) -> Iterator[Finding]:
    """VXLANConfig."""
    yield from check_made_link(vxlan)
    yield from check_hardware_addr(vxlan.hardware_addr)
    yield from required(vxlan, ("id", vxlan.id), ("parent", vxlan.parent))
    yield from _check_not_on_itself(vxlan.name, vxlan.parent)
    if vxlan.id > _HIGHEST_VNI:
        yield at("id", message=f"id {vxlan.id} is more than {_HIGHEST_VNI}, which is all that fits into 24 bits")
    for key, text in (("local", vxlan.local), ("group", vxlan.group)):
        if text and not is_ip(text):
            yield at(key, message=f"{quote(text)} is not an IP address", hint=IP_HINT)
        elif text and is_unspecified(text):
            yield at(key, message=f"{quote(text)} stands for no address", hint=f"write an address, or leave {key} away")
    if vxlan.local and vxlan.group:
        message = "a VXLAN has a local address or a group, not both"
        yield at("group", message=message, hint="leave one of the two away")
    elif vxlan.group and is_ip(vxlan.group) and not is_unspecified(vxlan.group) and not is_multicast(vxlan.group):
        # The originals take it.
        message = f"{quote(vxlan.group)} is not a multicast address: all packets go to that one machine"
        yield warn("group", message=message, hint="write a group like 239.1.1.1 or ff05::100")
    if vxlan.port == 0:
        yield at("port", message="port 0 is not a port", hint="leave it away for 4789")


def _check_not_on_itself(name: str, parent: str) -> Iterator[Finding]:
    if name and name == parent:
        yield at("parent", message=f"{quote(name)} cannot be its own parent")


@RULES.document(LinkAliasConfig)
def check_link_alias(alias: LinkAliasConfig) -> Iterator[Finding]:
    """LinkAliasConfig, its expression included."""
    yield from required(alias, ("name", alias.name))
    if "%" in alias.name.removesuffix("%d"):
        message = f"the name {quote(alias.name)} may contain % only in a %d at its end"
        yield at("name", message=message, hint="write it like net%d")
    if not alias.selector.match:
        yield at(
            "selector",
            "match",
            message="LinkAliasConfig needs selector.match",
            hint=_EXPRESSION_HINT,
        )
        return
    # The language is loaded for configurations that use it.
    from nodespan.controllers.common.cel import ExpressionError
    from nodespan.controllers.common.cel import parse as parse_expression

    try:
        parse_expression(alias.selector.match)
    except ExpressionError as error:
        message = f"{error.message} (at character {error.position + 1} of the expression)"
        yield at("selector", "match", message=message, hint=_EXPRESSION_HINT)
