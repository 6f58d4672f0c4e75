"""Which links a selector matches.

All fields that are set must match. Links stacked on another matching link are left out, because they inherit what makes
them match: a VLAN the hardware address of its parent, a bond that of a member. So a selector by hardware address keeps
matching the NIC when VLANs, bonds and bridges are stacked on it. For the same reason the hardware address of a member
of a bond is its permanent one: the current one is the bond's.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property

import attrs

from nodespan.controllers.common.glob import matches
from nodespan.resources.config.selector import DeviceSelector
from nodespan.resources.network import LinkStatusSpec


def hardware_address(status: LinkStatusSpec) -> str:
    """The address by which the link is known: that of a member of a bond is the permanent one, where there is one."""
    if status.slave_kind == "bond" and status.permanent_addr:
        return status.permanent_addr
    return status.hardware_addr


# The fields of a selector in the order in which messages name them: the key, the selector's value, the link's value.
_FIELDS: tuple[tuple[str, Callable[[DeviceSelector], str], Callable[[LinkStatusSpec], str]], ...] = (
    ("hardwareAddr", lambda selector: selector.hardware_addr, hardware_address),
    ("permanentAddr", lambda selector: selector.permanent_addr, lambda status: status.permanent_addr),
    ("pciID", lambda selector: selector.pci_id, lambda status: status.pci_id),
    ("driver", lambda selector: selector.driver, lambda status: status.driver),
    ("busPath", lambda selector: selector.bus_path, lambda status: status.bus_path),
)
# The fields that distinguish links best come first.
_DISTINGUISHING: tuple[tuple[str, Callable[[LinkStatusSpec], str]], ...] = (
    ("permanentAddr", lambda status: status.permanent_addr),
    ("busPath", lambda status: status.bus_path),
    ("hardwareAddr", hardware_address),
    ("pciID", lambda status: status.pci_id),
    ("driver", lambda status: status.driver),
    ("physical", lambda status: str(status.physical).lower()),
)
_MOST_NAMED = 8


def describe(selector: DeviceSelector) -> str:
    """The selector in words: `driver "virtio*" and physical true`."""
    given = [f'{key} "{wanted(selector)}"' for key, wanted, _ in _FIELDS if wanted(selector)]
    if selector.physical is not None:
        given.append(f"physical {str(selector.physical).lower()}")
    return " and ".join(given) or "nothing"


def selects(selector: DeviceSelector, status: LinkStatusSpec) -> bool:
    """Whether all fields that the selector sets match; a selector without fields matches nothing."""
    if selector == DeviceSelector() or selector.physical not in (None, status.physical):
        return False
    return all(not wanted(selector) or matches(wanted(selector), has(status)) for _, wanted, has in _FIELDS)


@attrs.frozen(kw_only=True)
class Selection:
    """The one link that matches, or why there is none. `is_mistake`: no link that appears later can make it valid."""

    link: str = ""
    problem: str = ""
    is_mistake: bool = False


class SelectableLinks:
    """The links of one moment, by name."""

    def __init__(self, statuses: Mapping[str, LinkStatusSpec]) -> None:
        self._statuses = statuses

    def select_one(self, selector: DeviceSelector) -> Selection:
        """For a device: exactly one link may match."""
        found = self._lowest(self.matching(selector))
        if len(found) == 1:
            return Selection(link=found[0])
        if found:
            return Selection(problem=self._ambiguity(selector, found), is_mistake=True)
        return Selection(problem=f"no link has {describe(selector)}{self._advice(selector)}")

    def all_of(self, selector: DeviceSelector) -> tuple[str, ...]:
        """Every link that matches, but for those stacked on another of them; by name."""
        return self._lowest(self.matching(selector))

    def select_members(self, bond: str, selectors: Iterable[DeviceSelector]) -> tuple[str, ...]:
        """For a bond: every link that matches, in the order of the selectors, then by name.

        Never the bond itself nor a link stacked on it. A link that two selectors match is one member, in the later
        place.
        """
        excluded = self._above((bond,)) | {bond}
        members: dict[str, None] = {}
        for selector in selectors:
            for name in self._lowest(set(self.matching(selector)) - excluded):
                members.pop(name, None)
                members[name] = None
        return tuple(members)

    def matching(self, selector: DeviceSelector) -> set[str]:
        """All links that match, including those stacked on others."""
        return {name for name in self._candidates(selector) if selects(selector, self._statuses[name])}

    def _candidates(self, selector: DeviceSelector) -> Iterable[str]:
        """Links that may match: those with a value that the selector names exactly, else all."""
        for key, wanted, _ in _FIELDS:
            value = wanted(selector)
            if value and "*" not in value:
                return self._by_value.get((key, value), ())
        return self._statuses

    @cached_property
    def _by_value(self) -> Mapping[tuple[str, str], list[str]]:
        index: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        for name, status in self._statuses.items():
            for key, _, has in _FIELDS:
                index[key, has(status)].append(name)
        return index

    def _lowest(self, names: set[str]) -> tuple[str, ...]:
        """Without those stacked on another of them; by name."""
        return tuple(sorted(names - self._above(names) or names))

    def _above(self, names: Iterable[str]) -> set[str]:
        """All links stacked on these: their VLANs, bonds and bridges, and what is stacked on those."""
        found: set[str] = set()
        waiting = list(names)
        while waiting:
            for upper in self._uppers.get(waiting.pop(), ()):
                if upper not in found:
                    found.add(upper)
                    waiting.append(upper)
        return found

    @cached_property
    def _uppers(self) -> Mapping[str, list[str]]:
        by_index = {status.index: name for name, status in self._statuses.items()}
        uppers: defaultdict[str, list[str]] = defaultdict(list)
        for name, status in self._statuses.items():
            for lower, upper in _stacked_on(name, status, by_index):
                uppers[lower].append(upper)
        return uppers

    def _ambiguity(self, selector: DeviceSelector, names: tuple[str, ...]) -> str:
        statuses = {name: self._statuses[name] for name in names}
        differing = [
            (key, has) for key, has in _DISTINGUISHING if len({has(status) for status in statuses.values()}) > 1
        ]
        shown = []
        for name, status in list(statuses.items())[:_MOST_NAMED]:
            facts = ", ".join(f"{key} {has(status) or '(none)'}" for key, has in differing)
            shown.append(f"{name} ({facts})" if facts else name)
        if len(names) > _MOST_NAMED:
            shown.append(f"{len(names) - _MOST_NAMED} more")
        # A field in which no two links are equal is enough.
        alone = [key for key, has in differing if len({has(status) for status in statuses.values()}) == len(names)]
        telling = alone[:1] or [key for key, _ in differing]
        advice = (
            f"add {' or '.join(telling)} to the selector"
            if telling
            else "no field of a selector distinguishes them: name the link with interface"
        )
        return f"{len(names)} links have {describe(selector)}: {'; '.join(shown)}: {advice}"

    def _advice(self, selector: DeviceSelector) -> str:
        for key, wanted, has in _FIELDS:
            value = wanted(selector)
            if value and value != value.lower() and key.endswith("Addr"):
                return ": hardware addresses are compared in lower case, as they are shown"
            if value and key == "driver" and "*" not in value:
                near = sorted({has(s) for s in self._statuses.values() if s.physical and has(s).startswith(value)})
                if near:
                    return f": did you mean {' or '.join(near)}?"
        if selector.bus_path and not selector.bus_path.strip("0*"):
            nics = sorted(name for name, status in self._statuses.items() if status.physical)
            if nics:
                paths = ", ".join(f"{name} ({self._statuses[name].bus_path or 'no busPath'})" for name in nics)
                return f": only bus paths on PCI begin with 0, here there are {paths}: use physical: true"
        return ""


def _stacked_on(name: str, status: LinkStatusSpec, by_index: Mapping[int, str]) -> Iterator[tuple[str, str]]:
    """Pairs of a lower and an upper link. The ends of a veth pair refer to each other; neither is the upper one."""
    if status.link_index and status.kind != "veth":
        # The index of a parent in another network namespace may be that of any link here, or of none.
        parent = by_index.get(status.link_index)
        if parent is not None and parent != name:
            yield parent, name
    if status.master_index and status.master_index in by_index:
        yield name, by_index[status.master_index]
