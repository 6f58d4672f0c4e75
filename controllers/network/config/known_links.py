"""The links as the configuration refers to them: by name, alias or selector. Other changes do not matter."""

from collections.abc import Iterable, Mapping
from typing import Any

from nodespan.controllers.network.config.selectors import SelectableLinks
from nodespan.resources.network import LinkFlags, LinkStatus, LinkStatusSpec
from nodespan.runtime.controller.context import Access


class KnownLinks:
    """Follows the link statuses."""

    def __init__(self) -> None:
        self.statuses: dict[str, LinkStatusSpec] = {}
        # Alias to real name, for aliases that are no link's real name.
        self.aliases: Mapping[str, str] = {}
        # Links with aliases: on most machines a handful.
        self._with_aliases: set[str] = set()
        self._selectable: SelectableLinks | None = None

    def observe(self, ctx: Access) -> frozenset[str]:
        """Read all links; returns those that changed in a way that matters."""
        return self.look(ctx, {*self.statuses, *(resource.id for resource in ctx.list(LinkStatus))})

    def look(self, ctx: Access, names: Iterable[str]) -> frozenset[str]:
        """Read some links; returns those that changed in a way that matters."""
        changed = frozenset(name for name in names if self._look(ctx, name))
        if changed:
            self._selectable = None
            self.aliases = self._resolved_aliases()
        return changed

    def _look(self, ctx: Access, name: str) -> bool:
        resource = ctx.find(LinkStatus, name)
        before = self.statuses.get(name)
        if resource is None or resource.metadata.is_tearing_down:
            self._with_aliases.discard(name)
            return self.statuses.pop(name, None) is not None
        status = resource.spec
        self.statuses[name] = status
        if before is not None and _relevant(before) == _relevant(status):
            return False
        self._with_aliases.discard(name)
        if status.alias or status.alt_names:
            self._with_aliases.add(name)
        return True

    @property
    def selectable(self) -> SelectableLinks:
        """The links as selectors see them."""
        if self._selectable is None:
            self._selectable = SelectableLinks(dict(self.statuses))
        return self._selectable

    def resolve(self, name: str) -> str:
        """The real name of the link with this name or alias; the name itself if there is no such link yet."""
        return self.aliases.get(name, name)

    @property
    def physical(self) -> tuple[str, ...]:
        """The NICs, by name."""
        return tuple(sorted(name for name, status in self.statuses.items() if status.physical))

    @property
    def first(self) -> str:
        """The first link by name that is not the loopback, "" if there is none."""
        return min((name for name, each in self.statuses.items() if LinkFlags.LOOPBACK not in each.flags), default="")

    def _resolved_aliases(self) -> Mapping[str, str]:
        aliases: dict[str, str] = {}
        for name in sorted(self._with_aliases, key=lambda name: self.statuses[name].index):
            status = self.statuses[name]
            for other in (status.alias, *status.alt_names):
                if other and other not in self.statuses:
                    aliases.setdefault(other, name)
        return aliases


def _relevant(status: LinkStatusSpec) -> tuple[Any, ...]:
    return (
        *(status.index, status.link_index, status.master_index, status.type, status.kind, status.slave_kind),
        *(status.alias, status.alt_names, status.hardware_addr, status.permanent_addr, status.pci_id, status.driver),
        status.bus_path,
    )
