"""The documents of network cards' settings."""

from collections.abc import Iterator, Mapping
from typing import Final

from nodespan.controllers.common.quoting import quote
from nodespan.controllers.config.finding import Finding, at, warn
from nodespan.controllers.config.rules.base import RuleSet, required
from nodespan.resources.config.ethernet import EthernetConfig

# What the ethtool program calls features, and what the kernel does.
_SHORT: Final[Mapping[str, str]] = {
    "gro": "rx-gro",
    "gso": "tx-generic-segmentation",
    "lro": "rx-lro",
    "ntuple": "rx-ntuple-filter",
    "rx": "rx-checksum",
    "rxhash": "rx-hashing",
    "rxvlan": "rx-vlan-hw-parse",
    "sg": "tx-scatter-gather",
    "tso": "tx-tcp-segmentation",
    "tx": "tx-checksum-ip-generic",
    "txvlan": "tx-vlan-hw-insert",
}
# A feature's name has 31 bytes in the kernel's tables.
_LONGEST = 31

RULES = RuleSet()


@RULES.document(EthernetConfig)
def check_ethernet(ethernet: EthernetConfig) -> Iterator[Finding]:
    """EthernetConfig. What a card can do is its driver's matter, and shown when it is applied."""
    yield from required(ethernet, ("name", ethernet.name))
    for name in ethernet.features:
        if name in _SHORT:
            message = f"{quote(name)} is what the ethtool program calls it, and no card has a feature of this name"
            yield warn("features", name, message=message, hint=f"write {_SHORT[name]}")
        elif not name or len(name.encode()) > _LONGEST:
            message = f"{quote(name)} is not the name of a feature"
            yield at("features", name, message=message, hint="nodespan get ethtool LINK -o yaml lists those of a link")
    modes = ethernet.wake_on_lan or ()
    for index, mode in enumerate(modes):
        if mode in modes[:index]:
            yield warn("wakeOnLan", index, message=f"{mode} stands there already", hint="take one of the two away")
