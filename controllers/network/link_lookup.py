"""Finding the kernel's links by the names that people give: the real one, else an alias or an alternative name."""

from collections.abc import Iterable, Mapping

from controllers.network.kernel.links import KernelLink


class LinkLookup:
    """The links of one moment by all their names. A real name wins over the alias of another link."""

    def __init__(self, links: Mapping[int, KernelLink]) -> None:
        self._links = links
        self._real = {link.name: link for link in links.values()}
        self._others: dict[str, KernelLink] = {}
        for _, link in sorted(links.items()):
            for name in _other_names(link):
                self._others.setdefault(name, link)

    def real(self, name: str) -> KernelLink | None:
        """The link of just this name."""
        return self._real.get(name)

    def find(self, name: str) -> KernelLink | None:
        """The link that goes by this name."""
        return self._real.get(name) or self._others.get(name)

    def at(self, index: int) -> KernelLink | None:
        """The link of this index."""
        return self._links.get(index)


def _other_names(link: KernelLink) -> Iterable[str]:
    if link.status.alias:
        yield link.status.alias
    yield from link.status.alt_names
