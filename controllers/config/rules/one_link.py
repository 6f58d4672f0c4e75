"""One link that two parts of a configuration describe, as far as the text shows it: a link may have several names."""

from collections.abc import Iterator, Sequence

from nodespan.controllers.common.link_settings.vlan_name import vlan_link_name
from nodespan.controllers.common.quoting import quote
from nodespan.controllers.config.finding import Finding, Path, warn
from nodespan.controllers.config.rules.entry import Entry
from nodespan.resources.config.device import Device
from nodespan.resources.config.links import VLANConfig
from nodespan.resources.config.main import MainDocument

_INTERFACES: Path = ("machine", "network", "interfaces")
_Vlan = tuple[str, int, str]
_PROTOCOL = "802.1q"


def check_one_link(entries: Sequence[Entry]) -> Iterator[tuple[int, Finding]]:
    """A warning for what a later part says otherwise, and for a VLAN that has two names."""
    vlans: dict[_Vlan, tuple[str, str]] = {}
    for index, entry in enumerate(entries):
        match entry.value:
            case MainDocument():
                devices = entry.value.machine.network.interfaces if entry.value.machine else ()
                yield from ((index, finding) for finding in _check_devices(devices))
                named = [
                    ((device.interface, vlan.vlan_id, _PROTOCOL), vlan_link_name(device.interface, vlan.vlan_id), path)
                    for position, device in enumerate(devices)
                    if device.interface and not device.ignore
                    for place, vlan in enumerate(device.vlans)
                    for path in [(*_INTERFACES, position, "vlans", place, "vlanId")]
                ]
            case VLANConfig() as vlan:
                named = [((vlan.parent, vlan.vlan_id, vlan.vlan_mode.value), vlan.name, ("vlanID",))]
            case _:
                continue
        for key, name, path in named:
            other, where = vlans.setdefault(key, (name, f"{entry.kind or 'the main document'}"))
            if other != name and key[0]:
                message = (
                    f"{quote(key[0])} has VLAN {key[1]} as {quote(other)} already ({where}): there can be only one "
                    f"link for it, so {quote(name)} is not made"
                )
                yield index, warn(*path, message=message, hint="give it one name in both places, or take one away")


def _check_devices(devices: Sequence[Device]) -> Iterator[Finding]:
    """Two entries by one name, or by one selector."""
    first: dict[object, int] = {}
    for position, device in enumerate(devices):
        key = device.interface or device.device_selector
        if not key or device.ignore:
            continue
        earlier = first.setdefault(key, position)
        if earlier == position:
            continue
        other = devices[earlier]
        for path, mine, theirs in (
            ("mtu", device.mtu, other.mtu),
            ("dhcpOptions", device.dhcp_options, other.dhcp_options),
        ):
            if mine and theirs and mine != theirs:
                place = ".".join(map(str, _INTERFACES)) + f"[{earlier}]"
                message = f"{place} is about the same link and says something else"
                yield warn(*_INTERFACES, position, path, message=message, hint="say it in one of the two entries")
