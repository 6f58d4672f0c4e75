"""Predictable interface names, from the position of the hardware. Pure rules over facts from sysfs.

The rules are those of systemd's udev, in its schemes v255 and v257 to v260: a link gets the same name from both.
`candidates` derives the names from the hardware, `choice` picks one of them.
"""

from nodespan.controllers.network.naming.candidates import Candidates, candidates_of
from nodespan.controllers.network.naming.choice import (
    choose,
    is_valid_alt_name,
    is_valid_name,
    scheme_of,
    wants_kernel_names,
)
from nodespan.controllers.network.naming.facts import Aliases, HotplugSlot, NameFacts, PciDevice

__all__ = [
    "Aliases",
    "Candidates",
    "HotplugSlot",
    "NameFacts",
    "PciDevice",
    "candidates_of",
    "choose",
    "is_valid_alt_name",
    "is_valid_name",
    "scheme_of",
    "wants_kernel_names",
]
