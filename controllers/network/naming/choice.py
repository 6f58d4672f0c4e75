"""Picks the name of a link: first whether it is renamed at all, then the first valid candidate."""

import re
import string
from collections.abc import Iterable

from nodespan.controllers.network.naming.candidates import Candidates, candidates_of
from nodespan.controllers.network.naming.facts import NameFacts
from nodespan.resources.config.nodespan import NamingScheme
from nodespan.resources.network.link_name import LinkNameSpec, NameRule

_LONGEST_NAME = 15
_LONGEST_ALT_NAME = 127
_PRINTABLE = frozenset(string.ascii_letters + string.digits + string.punctuation) - frozenset("/:%")
# The last two are directories of settings in /proc/sys, not links.
_RESERVED = frozenset({".", "..", "all", "default"})
_VERSION = re.compile("v([0-9]{1,4})")
_OFF = frozenset({"0", "no", "n", "off", "false", "f"})

# The kernel's values of name_assign_type.
_PREDICTABLE, _GIVEN_BY_USER, _RENAMED = 2, 3, 4
_STAYS = {
    _PREDICTABLE: (NameRule.KERNEL, "the kernel reports its name as predictable"),
    _GIVEN_BY_USER: (NameRule.KEEP, "its name was set by its creator"),
    _RENAMED: (NameRule.KEEP, "it was renamed before"),
}
_OFF_REASON = "the kernel command line has net.ifnames=0"
_STACKED_REASON = "it is on top of another link"
_NOTHING_REASON = "no rule yields a name"


def choose(facts: NameFacts, *, scheme: NamingScheme = NamingScheme.V255, kernel_names: bool = False) -> LinkNameSpec:
    """The names of a link and the chosen one. `kernel_names`: renaming is off for the whole machine."""
    candidates = candidates_of(facts, scheme)
    rule, name, reason = _decide(facts, candidates, kernel_names=kernel_names)
    others = () if kernel_names else _by_preference(candidates)
    return LinkNameSpec(
        name=name,
        rule=rule,
        reason=reason,
        onboard=candidates.onboard,
        slot=candidates.slot,
        path=candidates.path,
        mac=candidates.mac,
        alt_names=tuple(dict.fromkeys(other for _, other in others if other != name and is_valid_alt_name(other))),
    )


def _decide(facts: NameFacts, candidates: Candidates, *, kernel_names: bool) -> tuple[NameRule, str, str]:
    """The deciding rule, the name, and the reason if the link keeps its own."""
    name = facts.kernel_name
    if kernel_names:
        return NameRule.NONE, name, _OFF_REASON
    if facts.name_assign_type in _STAYS:
        rule, reason = _STAYS[facts.name_assign_type]
        return rule, name, reason
    if facts.linked_index != facts.index:
        return NameRule.NONE, name, _STACKED_REASON
    for rule, candidate in _by_preference(candidates):
        if is_valid_name(candidate):
            return rule, candidate, ""
    return NameRule.NONE, name, _NOTHING_REASON


def _by_preference(candidates: Candidates) -> Iterable[tuple[NameRule, str]]:
    return (
        (NameRule.ONBOARD, candidates.onboard),
        (NameRule.SLOT, candidates.slot),
        (NameRule.PATH, candidates.path),
        (NameRule.MAC, candidates.mac),
    )


def is_valid_name(text: str) -> bool:
    """Whether this is a valid link name."""
    return _is_valid(text, _LONGEST_NAME)


def is_valid_alt_name(text: str) -> bool:
    """Whether this is a valid alternative name."""
    return _is_valid(text, _LONGEST_ALT_NAME)


def _is_valid(text: str, longest: int) -> bool:
    return 1 <= len(text) <= longest and _PRINTABLE.issuperset(text) and not text.isdecimal() and text not in _RESERVED


def scheme_of(cmdline: str) -> NamingScheme | None:
    """The scheme that the kernel command line asks for, None for none; of several the last one counts.

    One that is older than the oldest here gives the same names but for rare hardware, as one that is newer than the
    newest does.
    """
    found = None
    for word in cmdline.split():
        name, _, value = word.partition("=")
        if name != "net.naming_scheme":
            continue
        if value == "latest":
            found = tuple(NamingScheme)[-1]
        elif (version := _VERSION.fullmatch(value)) is not None:
            known = [scheme for scheme in NamingScheme if int(scheme.value[1:]) <= int(version[1])]
            found = known[-1] if known else NamingScheme.V255
    return found


def wants_kernel_names(cmdline: str) -> bool:
    """Whether the kernel command line has `net.ifnames=0`; of several the last one counts."""
    values = [word.partition("=")[2] for word in cmdline.split() if word.startswith("net.ifnames=")]
    return bool(values) and values[-1].lower() in _OFF
