"""How the appliers of addresses, routes and rules keep what was there before: see `controllers.common.prior_state`.

The plans know nothing of this. What they decide is corrected here: a slot that nothing is known of is noted first; a
spec that leaves gives its slot back as it was; where objects can stand side by side, those of others stay untouched.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Generic, TypeVar

import attrs
import structlog
import trio

from nodespan.controllers.common.prior_state import Prior, PriorState
from nodespan.controllers.network.apply.plan import Step
from nodespan.kernel.link_lookup import LinkLookup
from nodespan.kernel.links import KernelLink
from nodespan.kernel.rtnetlink import Message, RtnlSocket
from nodespan.kernel.saved_objects import Saved, identity, put_back, save

S = TypeVar("S")
K = TypeVar("K")
A = TypeVar("A")
O = TypeVar("O")  # noqa: E741


@attrs.frozen
class Taken(Generic[O]):
    """What a spec takes for its own: the slot, and the objects in it that it would replace or remove."""

    slot: str
    objects: tuple[O, ...] = ()


@attrs.frozen(kw_only=True)
class SlotRules(Generic[S, K, A, O]):
    """What differs between kinds of objects.

    `taken` is None where there is nothing to take (no link, no valid spec). `list` are the kernel's messages about all
    objects of the kind, and `read` makes an object of one. `is_as_wanted` is whether an object is as the agent made it
    for a spec. `side_by_side`: a slot may hold objects of others beside the agent's. `loss` is the index of the link
    that may lose objects of others when one is removed, 0 for none.
    """

    taken: Callable[[S, LinkLookup, Mapping[K, A]], Taken[O] | None]
    list: Callable[[RtnlSocket], Iterable[Message]]
    read: Callable[[Message], O]
    is_as_wanted: Callable[[O, S], bool]
    side_by_side: bool = False
    loss: Callable[[O, Mapping[K, A]], int] = lambda _seen, _items: 0


class PriorObjects(Generic[S, K, A, O]):
    """The record of one applier. `judge` is called in the trio thread, the rest in the worker thread."""

    def __init__(self, state: PriorState, rules: SlotRules[S, K, A, O]) -> None:
        self.state = state
        self.rules = rules
        # The slots of the specs in effect, for those whose link is gone when they leave.
        self._slots: dict[str, str] = {}

    def corrected(
        self,
        steps: Mapping[str, Step[Any, O]],
        idle: Iterable[str],
        wanted: Mapping[str, S],
        leaving: Mapping[str, S],
        links: Mapping[int, KernelLink],
        items: Mapping[K, A],
    ) -> dict[str, Step[Any, O]]:
        """The steps to take for some specs, by their ids. `idle` are those wanted ones that are as they should be."""
        lookup = LinkLookup(links)
        corrected: dict[str, Step[Any, O]] = {}
        kept: set[str] = set()
        waiting_for_nothing = frozenset(idle)
        for id, spec in wanted.items():
            taken = self.rules.taken(spec, lookup, items)
            step = steps.get(id)
            if taken is None:
                if step is not None:
                    corrected[id] = step
                continue
            kept.add(taken.slot)
            self._slots[id] = taken.slot
            prior = self.state.get(taken.slot)
            if step is not None:
                step = self._sparing(step, prior, taken)
            if step is not None or (prior is None and id in waiting_for_nothing):
                objects = taken.objects
                if not self.state.journal.is_durable:
                    objects = tuple(each for each in objects if not self.rules.is_as_wanted(each, spec))
                corrected[id] = attrs.evolve(step or Step(id=id), slot=taken.slot, taken=objects)
        for id, spec in leaving.items():
            taken = self.rules.taken(spec, lookup, items)
            slot = taken.slot if taken is not None else self._slots.get(id, "")
            prior = self.state.get(slot) if slot and slot not in kept else None
            if prior is None:
                # Never taken, or another spec has it still: there is nothing to undo.
                continue
            step = steps.get(id)
            if step is not None and taken is not None:
                step = self._sparing(step, prior, taken)
            given_back = Step[Any, O](id=id) if step is None else step
            if prior.saved and not self.rules.side_by_side:
                seen = () if taken is None else taken.objects
                is_ours = all(self.rules.is_as_wanted(each, spec) for each in seen)
                restore = prior.saved if prior.changed and is_ours and taken is not None else ()
                given_back = Step(id=id, remove=seen if restore else (), restore=restore)
            corrected[id] = attrs.evolve(given_back, slot=slot, forget=True)
        return {id: self._with_losses(step, items) for id, step in corrected.items()}

    def _with_losses(self, step: Step[Any, O], items: Mapping[K, A]) -> Step[Any, O]:
        losing = {self.rules.loss(seen, items) for seen in step.remove} - {0}
        return attrs.evolve(step, losing=frozenset(losing)) if losing else step

    async def open(self, netns: str | None) -> None:
        """Read the record, and put back what a killed agent has left lost. Raises OSError."""
        await load_record(self.state)
        if self.state.links_with_losses():
            await trio.to_thread.run_sync(self.make_good, netns)

    def forget(self, id: str) -> None:
        """The spec has gone."""
        self._slots.pop(id, None)

    def _sparing(self, step: Step[Any, O], prior: Prior | None, taken: Taken[O]) -> Step[Any, O] | None:
        """The step without what it would remove of others, where these can stay; None if nothing is left of it."""
        if not self.rules.side_by_side:
            return step
        foreign = taken.objects if prior is None else tuple(self.rules.read(each.message) for each in prior.saved)
        remove = tuple(each for each in step.remove if each not in foreign)
        if not remove and step.add is None:
            return None
        return attrs.evolve(step, remove=remove)

    def note(self, kernel: RtnlSocket, steps: Iterable[Step[Any, O]]) -> None:
        """Before these steps are taken: note what their slots hold, and which of them are about to change.

        Raises OSError.
        """
        notes: dict[str, Prior | None] = {}
        unknown: dict[str, tuple[O, ...]] = {}
        for step in steps:
            if not step.slot or step.forget:
                continue
            prior = self.state.get(step.slot)
            changes = not self.rules.side_by_side and bool(step.remove or step.add)
            if prior is None:
                notes[step.slot] = Prior(changed=changes and bool(step.taken))
                if step.taken:
                    unknown[step.slot] = step.taken
            elif prior.saved and changes and not prior.changed:
                notes[step.slot] = attrs.evolve(prior, changed=True)
        if unknown:
            bodies = self._bodies(kernel)
            for slot, objects in unknown.items():
                saved = tuple(found for found, read in bodies if read in objects)
                notes[slot] = attrs.evolve(notes[slot] or Prior(), saved=saved)
        self.state.note(notes)

    def _bodies(self, kernel: RtnlSocket) -> list[tuple[Saved, O]]:
        now = self.state.now()
        return [(save(message, now), self.rules.read(message)) for message in self.rules.list(kernel)]

    def restore(self, kernel: RtnlSocket, step: Step[Any, O], remove: Callable[[O], None]) -> None:
        """Give a slot back as it was: in place if that comes to the same, else by making it again. Raises OSError."""
        for saved in step.restore:
            put_back(kernel, saved, self.state.now(), replace=True)
        there = {identity(saved): read for saved, read in self._bodies(kernel)}
        for saved in step.restore:
            found = there.get(identity(saved))
            if found == self.rules.read(saved.message):
                continue
            if found is not None:
                remove(found)
            put_back(kernel, saved, self.state.now())

    def before(self, netns: str | None, kernel: RtnlSocket, steps: Collection[Step[Any, O]]) -> None:
        """All that is put on record before these steps are taken. Raises OSError: then they must not be."""
        self.note(kernel, steps)
        losing = {index for step in steps for index in step.losing}
        meant = {step.slot for step in steps if step.remove}
        self.state.before_loss(netns, losing, meant)

    def after(self, netns: str | None, steps: Iterable[Step[Any, O]]) -> None:
        """After these steps: put back what links lost, and forget the slots that were given back. Raises OSError."""
        self.make_good(netns)
        self.state.note({step.slot: None for step in steps if step.forget})

    def make_good(self, netns: str | None) -> None:
        """Put back what links lost, as far as they can carry it now; blocks. Raises OSError."""
        for index in self.state.links_with_losses():
            self.state.make_good(netns, index)


async def load_record(state: PriorState) -> None:
    """Read the record before anything is decided by it. Raises OSError."""
    if not state.journal.is_durable:
        return
    damage = await trio.to_thread.run_sync(state.journal.load)
    if damage:
        structlog.get_logger().error("the record of what was there before is lost", reason=damage)
