"""The second copy of guard chains, in a table that other processes cannot change (`kernel/packet_filter/owned_table`).

Chains that hold back what must not leave in clear text protect only as long as they exist, and one `nft flush
ruleset` removes them with all others. This copy survives that. It in turn ends with the agent, even by kill -9, which
the agent's ordinary table survives: each covers the other, and a packet gets past only where both are gone at once.

Nobody else can change the table, so what was sent is what it holds: it is never listed. After a failure nothing is
known of it, and it is built from nothing.
"""

from collections.abc import Callable, Iterable, Mapping, Set

import attrs
import trio

from nodespan.controllers.common.ip.cover import PrefixKey
from nodespan.controllers.network.nftables.document import Document
from nodespan.controllers.network.nftables.render import VERSIONS, RenderedChain, kernel_set
from nodespan.kernel.packet_filter.owned_table import OwnedTable


@attrs.frozen(kw_only=True)
class GuardWork:
    """Send a document to the table, None: to a new one; `chains` and `sets` are what it holds then."""

    name: str
    table: OwnedTable | None
    text: str
    chains: Mapping[str, RenderedChain]
    sets: Mapping[str, set[PrefixKey]]


class GuardTable:
    """What the guard holds. It is opened when the first guard chain is desired; `close` at the end."""

    def __init__(self, name: str, netns: str | None) -> None:
        self._name = name
        self._netns = netns
        self._table: OwnedTable | None = None
        # The one opened last, for `follow`.
        self._opened: OwnedTable | None = None
        self._has_opened = trio.Event()
        self._chains: Mapping[str, RenderedChain] = {}
        self._sets: Mapping[str, set[PrefixKey]] = {}

    @property
    def kept(self) -> OwnedTable | None:
        """The nft that is kept for the table, None while there is none."""
        return self._table

    def has_chain(self, name: str) -> bool:
        """Whether the table was made to hold a chain."""
        return name in self._chains

    @property
    def tracks_connections(self) -> bool:
        """Whether the table exists and any rule in it looks at the state of connections."""
        is_open = self._table is not None and self._table.is_open
        return is_open and any(chain.tracks_connections for chain in self._chains.values())

    def plan(
        self,
        chains: Mapping[str, RenderedChain],
        elements: Mapping[str, Set[PrefixKey]],
        touched: Mapping[str, Iterable[PrefixKey]] | None,
    ) -> GuardWork | None:
        """What to send so that the table holds these chains, with the elements (by kernel set) that they match.

        `touched` are the elements that may have changed since the last time, by kernel set; None: any.
        """
        if not chains:
            self.close()
            return None
        if self._table is not None and not self._table.is_open:
            self.close()
        document = Document(self._name, exists=True)
        names = {name for chain in chains.values() for name in chain.sets}
        kernel_names = {kernel_set(name, version) for name in names for version in VERSIONS}
        sets = {name: set(known) for name, known in self._sets.items() if name in kernel_names}
        if not kernel_names <= sets.keys():
            document.add_sets(names)
        for name in sorted(kernel_names):
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
            known_chain = self._chains.get(name)
            if known_chain is None or known_chain.generation != chain.generation:
                document.change_chain(chain, known_chain)
        for name in sorted(self._chains.keys() - chains.keys()):
            document.delete_chain(name)
            for part in sorted(self._chains[name].parts):
                document.delete_chain(part)
        for name in sorted(self._sets.keys() - kernel_names):
            document.delete_set(name)
        if document.is_empty and self._table is not None:
            return None
        text = "" if document.is_empty else document.text
        return GuardWork(name=self._name, table=self._table, text=text, chains=dict(chains), sets=sets)

    def note(self, work: GuardWork, table: OwnedTable | None) -> None:
        """What came of it: the table that holds it now, None if that failed. Blocks for a moment then."""
        if table is None:
            # Also of an nft that was killed before it got the document, there are pipes and a pidfd to close.
            self.close()
            return
        self._table, self._chains, self._sets = table, work.chains, work.sets
        if table is not self._opened:
            self._opened = table
            self._has_opened.set()

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

    def close(self) -> None:
        """Remove the table. Blocks for a moment. Never fails."""
        table, self._table = self._table, None
        self._chains, self._sets = {}, {}
        if table is not None:
            table.close()


def send(work: GuardWork, netns: str | None) -> OwnedTable:
    """In a worker thread: send the document. Raises OSError; the table is closed then."""
    table = OwnedTable.open(work.name, netns) if work.table is None else work.table
    try:
        if work.text:
            table.apply(work.text)
    except BaseException:
        table.close()
        raise
    return table
