"""Predictable names: what a link would be called by where its hardware sits. Pure rules over facts from sysfs.

The rules are those of systemd's udev, in its schemes v255 and v257, so that a link is called the same whoever names it.
`candidates` makes the names by what is known of the hardware, `choice` decides which of them it comes to.
"""

from nodespan.controllers.network.naming.candidates import Candidates, candidates_of
from nodespan.controllers.network.naming.choice import choose, is_valid_alt_name, is_valid_name, wants_kernel_names
from nodespan.controllers.network.naming.facts import HotplugSlot, NameFacts, PciDevice

__all__ = [
    "Candidates",
    "HotplugSlot",
    "NameFacts",
    "PciDevice",
    "candidates_of",
    "choose",
    "is_valid_alt_name",
    "is_valid_name",
    "wants_kernel_names",
]
