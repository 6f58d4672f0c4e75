"""What was there before the agent: recorded before the first change, and what remains after the last one.

Everything that an applier changes stands in a slot of the kernel, as an address in that of its link and prefix. Before
an applier first takes a slot, even if there is nothing to do, it notes what the slot holds. A slot that held nothing is
the agent's own, and is emptied in the end. One that held something keeps it; and if the agent changed it, gets it back.

The record is durable (`journal`), so it holds for the agents after one that was killed, until the machine is rebooted.
"""

from collections.abc import Callable, Container, Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import attrs
from pyroute2.netlink import rtnl

from nodespan.controllers.common.boot_clock import BootClock, boot_time
from nodespan.controllers.common.journal import Journal, read_journal
from nodespan.kernel.links import read_link
from nodespan.kernel.rtnetlink import RtnlSocket, open_rtnl_socket
from nodespan.kernel.saved_objects import Saved, address_of, missing, on_link, put_back, route_of, saved_from_plain
from nodespan.resources.network import LinkFlags

FILE_NAME = "before.jsonl"
_LOST = "lost/"


@attrs.frozen
class Prior:
    """What a slot held before; nothing: the agent's own. `changed`: the agent has changed it since, or may have."""

    saved: tuple[Saved, ...] = ()
    changed: bool = False


def address_slot(link_index: int, address: str) -> str:
    """The slot of an address with its prefix length, in the kernel's form."""
    return f"address/{link_index}/{address}"


def route_slot(family: str, table: int, dst: str, priority: int, gateway: str) -> str:
    """The slot of a route, of which a gateway makes another one."""
    return f"route/{family}/{table}/{dst or 'default'}/{priority}/{gateway}"


def slots_of_others(path: Path) -> frozenset[str]:
    """The slots that held something before, for who only looks: the record may be written meanwhile. Blocks."""
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


def rule_slot(family: str, priority: int) -> str:
    """The slot of routing rules, which may hold several."""
    return f"rule/{family}/{priority}"


class PriorState:
    """The record of one agent, shared by its appliers; thread-safe. All calls may block.

    Without a file nothing is known of earlier processes: then what is as desired may be their doing, and counts as own.
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

    def now(self) -> float:
        """Seconds since boot."""
        return self._now()

    def get(self, slot: str) -> Prior | None:
        """What is known of a slot, None as long as nothing was noted. Raises OSError."""
        plain = self.journal.get(slot)
        return None if plain is None else _prior(plain)

    def note(self, slots: Mapping[str, Prior | None]) -> None:
        """Note this, None to forget. It is on disk when this returns. Raises OSError."""
        if slots:
            self.journal.change({slot: None if prior is None else _plain(prior) for slot, prior in slots.items()})

    def is_own(self, slot: str) -> bool:
        """Whether the slot held nothing before. Raises OSError."""
        prior = self.get(slot)
        return prior is not None and not prior.saved

    # What a change of a link, or of an address, takes with it.

    def before_loss(self, netns: str | None, indexes: Iterable[int], meant: Container[str] = ()) -> None:
        """Record what others put on these links, before something is done that may take it with it.

        But for the slots that this is `meant` to empty. Raises OSError.
        """
        wanted = frozenset(indexes)
        if not wanted:
            return
        changes = {}
        # Another applier may remove what is its own, and forget that, between the listing and the question whose it is.
        own = {slot for slot, plain in self.journal.all().items() if not slot.startswith(_LOST) and _is_own(plain)}
        with self._strict_kernel(netns) as kernel:
            for index in wanted:
                known = self._lost(index)
                there = ((slot_of(each), each) for each in on_link(kernel, index, self._now()))
                found = (each for slot, each in there if not (slot in meant or slot in own or self.is_own(slot)))
                if kept := (*known, *missing(found, known)):
                    changes[f"{_LOST}{index}"] = [each.plain() for each in kept]
        self.journal.change(changes)

    def make_good(self, netns: str | None, index: int) -> tuple[Saved, ...]:
        """Put back what a link has lost by our doing; returns what cannot be put back yet, which stays on record.

        That is all as long as the link is down or has a master. Raises OSError.
        """
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
            # What rests on another of them may have to wait for it.
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
        self.journal.change({f"{_LOST}{index}": [each.plain() for each in waiting] or None})
        return tuple(waiting)

    def links_with_losses(self) -> frozenset[int]:
        """The indexes of the links that have lost something. Raises OSError."""
        return frozenset(int(name.removeprefix(_LOST)) for name in self.journal.all(_LOST))

    def _lost(self, index: int) -> tuple[Saved, ...]:
        return tuple(saved_from_plain(each) for each in self.journal.get(f"{_LOST}{index}") or ())


def _is_own(plain: object) -> bool:
    return isinstance(plain, dict) and plain.get("saved") == []


def _plain(prior: Prior) -> dict[str, object]:
    return {"saved": [each.plain() for each in prior.saved], "changed": prior.changed}


def _prior(plain: Mapping[str, object]) -> Prior:
    saved = plain["saved"]
    if not isinstance(saved, list):
        raise TypeError(f"{saved!r} is no list of saved objects")
    return Prior(tuple(saved_from_plain(each) for each in saved), bool(plain["changed"]))
