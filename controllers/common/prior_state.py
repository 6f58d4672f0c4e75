"""The state before the agent: recorded before the first change, restored after the last one.

Everything that an applier changes has a slot in the kernel: for an address, its link and prefix. Before an applier
first takes a slot, even if there is nothing to do, it records what the slot holds. A slot that held nothing is the
agent's own, and is emptied in the end. One that held something keeps it or, if the agent changed it, gets it back.

The record is durable (`journal`): an agent that follows one that was killed goes on with it, until the next reboot.
"""

import socket
import threading
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import attrs

from nodespan.controllers.common.boot_clock import BootClock
from nodespan.controllers.common.journal import Journal, read_journal
from nodespan.kernel import rtnl
from nodespan.kernel.links import read_link
from nodespan.kernel.rtnetlink import RtnlSocket, open_rtnl_socket
from nodespan.kernel.saved_objects import Saved, address_of, missing, on_link, put_back, route_of, saved_from_plain
from nodespan.resources.network import LinkFlags
from nodespan.runtime.process.boot_time import boot_time

FILE_NAME = "before.jsonl"
_LOST, _TABLE = "lost", "nft"


@attrs.frozen
class Prior:
    """What a slot held before; if nothing, it is the agent's own. `changed`: the agent may have changed it since."""

    saved: tuple[Saved, ...] = ()
    changed: bool = False


def address_slot(link_index: int, address: str) -> str:
    """The slot of an address with its prefix length, in the kernel's form."""
    return f"address/{link_index}/{address}"


def route_slot(family: str, table: int, dst: str, priority: int, gateway: str) -> str:
    """The slot of a route; routes through different gateways have different slots."""
    return f"route/{family}/{table}/{dst or 'default'}/{priority}/{gateway}"


def slots_of_others(path: Path) -> frozenset[str]:
    """The slots that held something before, for readers: an agent may write the record at the same time. Blocks."""
    return frozenset(
        slot for slot, value in read_journal(path).items() if slot.startswith(("address/", "route/")) and value["saved"]
    )


def slot_of(saved: Saved) -> str:
    """The slot of a saved address or route."""
    if saved.type == rtnl.RTM_NEWADDR:
        address = address_of(saved)
        return address_slot(address.link_index, address.address)
    status = route_of(saved).status
    return route_slot(status.family.value, status.table.number, status.dst, status.priority, status.gateway)


def made_slot(family: str, priority: int) -> str:
    """What the agent put into the slot of routing rules: others may add theirs later."""
    return f"made/{rule_slot(family, priority)}"


def link_slot(name: str) -> str:
    """The slot of a link that the agent makes or takes over, by its name."""
    return f"link/{name}"


def table_slot(name: str) -> str:
    """The slot of a table of the packet filter: on record if the agent made it."""
    return f"{_TABLE}/{name}"


def rule_slot(family: str, priority: int) -> str:
    """The slot of routing rules, which may hold several."""
    return f"rule/{family}/{priority}"


class PriorState:
    """The record of one agent, shared by its appliers; thread-safe. All calls may block.

    Without a file nothing is known of earlier processes: what is as desired may be theirs, and counts as own.
    """

    def __init__(
        self,
        path: Path | None,
        clock: BootClock | None = None,
        *,
        now: Callable[[], float] = boot_time,
        strict_kernel: Callable[[str | None], AbstractContextManager[RtnlSocket]] | None = None,
    ) -> None:
        self.journal = Journal(path, clock)
        self._strict_kernel = strict_kernel or (lambda netns: open_rtnl_socket(netns, strict=True))
        self._now = now
        # The slots forgotten while others read the kernel; one set per reader.
        self._forgotten: list[set[str]] = []
        self._forgetting = threading.Lock()
        # Held from reading what a link lost until it is recorded anew.
        self._losing = threading.Lock()

    def now(self) -> float:
        """Seconds since boot."""
        return self._now()

    def get(self, slot: str) -> Prior | None:
        """What is recorded of a slot, None for nothing. Raises OSError."""
        plain = self.journal.get(slot)
        return None if plain is None else _prior(plain)

    def note(self, slots: Mapping[str, Prior | None]) -> None:
        """Record this, None to forget. It is on disk when this returns. Raises OSError."""
        if slots:
            with self._forgetting:
                for forgotten in self._forgotten:
                    forgotten.update(slot for slot, prior in slots.items() if prior is None)
            self.journal.change({slot: None if prior is None else _plain(prior) for slot, prior in slots.items()})

    def is_own(self, slot: str) -> bool:
        """Whether the slot held nothing before. Raises OSError."""
        plain = self.journal.get(slot)
        return isinstance(plain, dict) and plain.get("saved") == []

    def peers_of_others(self, link_name: str, index: int) -> frozenset[str] | None:
        """The keys of the peers that a WireGuard device had before the agent; None as long as nothing was noted of it.

        Raises OSError.
        """
        if not self.journal.is_durable:
            return frozenset()
        plain = self.journal.get(link_slot(link_name))
        if plain is None:
            return None
        settings = (plain["spec"] or {}).get("wireguard") if plain["index"] == index else None
        return frozenset(peer["publicKey"] for peer in (settings or {}).get("peers", ()))

    def is_own_table(self, name: str) -> bool:
        """Whether the agent made this table of the packet filter. Raises OSError."""
        return not self.journal.is_durable or self.journal.get(table_slot(name)) is not None

    def left_behind(self) -> list[str]:
        """What links lost through an agent that has left, and could not get back. Raises OSError."""
        return [
            f"{len(self._lost(index))} addresses and routes that others had on {_name_of(index)}"
            for index in sorted(self.links_with_losses())
            if _name_of(index)
        ]

    def own_tables(self) -> list[str]:
        """The tables of the packet filter that the agent made. Raises OSError."""
        return sorted(name.removeprefix(table_slot("")) for name in self.journal.names(_TABLE))

    def note_table(self, name: str, *, is_there: bool) -> None:
        """The agent is about to make a table of the packet filter, or has removed it. Raises OSError."""
        self.journal.change({table_slot(name): True if is_there else None})

    # What a change of a link, or of an address, removes as a side effect.

    def before_loss(self, netns: str | None, indexes: Iterable[int], meant: Container[str] = ()) -> None:
        """Record what other programs put on these links, before a change that may remove it as a side effect.

        Without the slots that the change is `meant` to empty. Raises OSError.
        """
        links = frozenset(indexes)
        if not links:
            return
        changes = {}
        with self._losing, self._strict_kernel(netns) as kernel, self._forgotten_meanwhile() as forgotten:
            for index in links:
                known = self._lost(index)
                there = ((slot_of(each), each) for each in on_link(kernel, index, self._now()))
                found = (each for slot, each in there if not (slot in meant or self.is_own(slot) or slot in forgotten))
                if kept := (*known, *missing(found, known)):
                    changes[_lost_slot(index)] = [each.plain() for each in kept]
            self.journal.change(changes)

    @contextmanager
    def _forgotten_meanwhile(self) -> Iterator[Container[str]]:
        """The slots that are forgotten within the block.

        Another applier may remove an object of its own, and forget its slot, after the kernel has listed the object and
        before its owner is looked up: it would pass for another program's.
        """
        forgotten: set[str] = set()
        with self._forgetting:
            self._forgotten.append(forgotten)
        try:
            yield forgotten
        finally:
            with self._forgetting:
                # Sets are equal by what is in them.
                self._forgotten = [other for other in self._forgotten if other is not forgotten]

    def restore_losses(self, netns: str | None, index: int) -> tuple[Saved, ...]:
        """Restore what a link lost through a change of ours; returns what cannot be restored yet, which stays recorded.

        That is all of it as long as the link is down or has a master. Raises OSError.
        """
        with self._losing:
            return self._restore_losses(netns, index)

    def _restore_losses(self, netns: str | None, index: int) -> tuple[Saved, ...]:
        lost = self._lost(index)
        if not lost:
            return ()
        waiting: list[Saved] = []
        with self._strict_kernel(netns) as kernel:
            message = kernel.link(index)
            status = None if message is None else read_link(message).status
            if status is not None and (LinkFlags.UP not in status.flags or status.master_index):
                return lost
            if status is None:
                lost = ()
            # One of them may depend on another.
            for _ in range(2):
                waiting = []
                gone = missing(lost, on_link(kernel, index, self._now()))
                for each in gone:
                    if self.is_own(slot_of(each)):
                        continue
                    try:
                        put_back(kernel, each, self._now())
                    except FileExistsError:
                        continue
                    except OSError:
                        waiting.append(each)
                if not waiting:
                    break
        self.journal.change({_lost_slot(index): [each.plain() for each in waiting] or None})
        return tuple(waiting)

    def links_with_losses(self) -> frozenset[int]:
        """The indexes of the links that have lost something. Raises OSError."""
        return frozenset(int(name.removeprefix(_lost_slot(""))) for name in self.journal.names(_LOST))

    def _lost(self, index: int) -> tuple[Saved, ...]:
        return tuple(saved_from_plain(each) for each in self.journal.get(_lost_slot(index)) or ())


def _name_of(index: int) -> str:
    """The name of a link, "" for one that is gone: nothing can be put back on it."""
    try:
        return socket.if_indextoname(index)
    except OSError:
        return ""


def _lost_slot(index: int | str) -> str:
    return f"{_LOST}/{index}"


def _plain(prior: Prior) -> dict[str, object]:
    return {"saved": [each.plain() for each in prior.saved], "changed": prior.changed}


def _prior(plain: Mapping[str, object]) -> Prior:
    saved = plain["saved"]
    if not isinstance(saved, list):
        raise TypeError(f"{saved!r} is no list of saved objects")
    return Prior(tuple(saved_from_plain(each) for each in saved), bool(plain["changed"]))
