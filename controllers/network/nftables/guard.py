"""The second copy of guard chains, in a table that other processes cannot change (`nodespan.kernel.owned_table`).

Chains that hold back what must not leave in clear text protect only as long as they exist, and one `nft flush
ruleset` removes them with all others. This copy survives that. It in turn ends with the agent, even by kill -9, which
the agent's ordinary table survives: each covers the other, and a packet gets past only where both are gone at once.

Nobody else can change the table, so what was sent is what it holds: it is never listed.
"""

from collections.abc import Callable, Iterable, Mapping, Set

import trio

from nodespan.controllers.common.ip.cover import PrefixKey
from nodespan.controllers.network.nftables.document import Document
from nodespan.controllers.network.nftables.render import VERSIONS, RenderedChain, kernel_set
from nodespan.kernel.owned_table import OwnedTable


class GuardTable:
    """Opened when the first guard chain is wanted. One task at a time may call `sync`; `close` at the end."""

    def __init__(self, name: str, netns: str | None) -> None:
        self._name = name
        self._netns = netns
        self._table: OwnedTable | None = None
        # The one opened last, for `follow`.
        self._opened: OwnedTable | None = None
        self._has_opened = trio.Event()
        self._chains: dict[str, RenderedChain] = {}
        self._sets: dict[str, set[PrefixKey]] = {}

    async def sync(
        self,
        chains: Mapping[str, RenderedChain],
        elements: Mapping[str, Set[PrefixKey]],
        touched: Mapping[str, Iterable[PrefixKey]] | None,
    ) -> None:
        """Make the table hold these chains, with the elements (by kernel set) of the sets that they match.

        `touched` are the elements that may have changed since the last call, by kernel set; None: any. Raises OSError.
        A call that was cancelled or failed is made good by the next one, for the table is then built from nothing.
        """
        if not chains:
            self.close()
            return
        table = self._table
        if table is None or not table.is_open:
            self.close()
            table = self._opened = await trio.to_thread.run_sync(OwnedTable.open, self._name, self._netns)
            self._has_opened.set()
        # Until the kernel has confirmed what follows, nothing is known of the table.
        self._table = None
        try:
            document, sets = self._plan(chains, elements, touched)
            if not document.is_empty:
                await trio.to_thread.run_sync(table.apply, document.text)
        except BaseException:
            table.close()
            self.close()
            raise
        self._table, self._chains, self._sets = table, dict(chains), sets

    async def follow(self, lost: Callable[[], None]) -> None:
        """Call `lost` whenever the table has gone because its nft was killed. Runs until cancelled."""
        while True:
            await self._has_opened.wait()
            self._has_opened = trio.Event()
            opened = self._opened
            assert opened is not None
            await opened.ended()
            # One that was closed here, because the kernel refused something, is not to be tried again at once.
            if self._table is opened:
                lost()

    def _plan(
        self,
        chains: Mapping[str, RenderedChain],
        elements: Mapping[str, Set[PrefixKey]],
        touched: Mapping[str, Iterable[PrefixKey]] | None,
    ) -> tuple[Document, dict[str, set[PrefixKey]]]:
        document = Document(self._name, exists=True)
        names = {name for chain in chains.values() for name in chain.sets}
        wanted = {kernel_set(name, version) for name in names for version in VERSIONS}
        sets = {name: known for name, known in self._sets.items() if name in wanted}
        if not wanted <= sets.keys():
            document.add_sets(names)
        for name in sorted(wanted):
            desired = elements.get(name, frozenset())
            known = sets.get(name)
            if known is None or touched is None:
                known = sets.setdefault(name, set())
                added, removed = desired - known, known - desired
            else:
                candidates = set(touched.get(name, ()))
                added = {each for each in candidates if each in desired} - known
                removed = {each for each in candidates if each not in desired} & known
            document.change_elements(name, added=added, removed=removed)
            known |= added
            known -= removed
        for name, chain in sorted(chains.items()):
            if self._chains.get(name) != chain:
                document.replace_chain(chain)
        for name in sorted(self._chains.keys() - chains.keys()):
            document.delete_chain(name)
        for name in sorted(self._sets.keys() - wanted):
            document.delete_set(name)
        return document, sets

    def close(self) -> None:
        """Remove the table. Blocks for a moment. Never fails."""
        table, self._table = self._table, None
        self._chains, self._sets = {}, {}
        if table is not None:
            table.close()
