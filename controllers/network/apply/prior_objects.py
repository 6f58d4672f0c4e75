"""How the appliers of addresses, routes and rules preserve the state before them: see `controllers.common.prior_state`.

The plans know nothing of this. Their steps are corrected here: an unknown slot is recorded first; a spec that leaves
gives its slot back as it was; where objects can coexist in a slot, those of other programs stay untouched.

`PriorObjects` corrects the plans, in the trio thread. `SlotKeeper`, which has no state of its own, does the I/O around
the steps, in the worker thread.
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
    objects of the kind, and `read` makes an object of one. `is_as_desired` is whether an object is as the agent made it
    for a spec. `side_by_side`: a slot may hold objects of others beside the agent's. `loss` is the index of the link
    that may lose objects of others when one is removed, 0 for none.
    """

    taken: Callable[[S, LinkLookup, Mapping[K, A]], Taken[O] | None]
    list: Callable[[RtnlSocket], Iterable[Message]]
    read: Callable[[Message], O]
    is_as_desired: Callable[[O, S], bool]
    side_by_side: bool = False
    loss: Callable[[O, Mapping[K, A]], int] = lambda _seen, _items: 0


class PriorObjects(Generic[S, K, A, O]):
    """Corrects the plans of one applier. All calls are made in the trio thread."""

    def __init__(self, state: PriorState, rules: SlotRules[S, K, A, O]) -> None:
        self.keeper = SlotKeeper(state, rules)
        self._state = state
        self._rules = rules
        # The slots of the specs in effect, for those whose link is gone when they leave.
        self._slots: dict[str, str] = {}

    async def open(self, netns: str | None) -> None:
        """Read the record, and restore what links lost to an agent that was killed. Raises OSError."""
        await load_record(self._state)
        if self._state.links_with_losses():
            await trio.to_thread.run_sync(self.keeper.restore_losses, netns)

    def forget(self, id: str) -> None:
        """The spec is gone."""
        self._slots.pop(id, None)

    def corrected(
        self,
        steps: Mapping[str, Step[Any, O]],
        idle: Iterable[str],
        desired: Mapping[str, S],
        leaving: Mapping[str, S],
        links: Mapping[int, KernelLink],
        items: Mapping[K, A],
    ) -> dict[str, Step[Any, O]]:
        """The steps to take for some specs, by their ids. `idle` are the desired ones that wait for nothing."""
        lookup = LinkLookup(links)
        corrected: dict[str, Step[Any, O]] = {}
        kept: set[str] = set()
        waiting_for_nothing = frozenset(idle)
        for id, spec in desired.items():
            taken = self._rules.taken(spec, lookup, items)
            step = steps.get(id)
            if taken is None:
                if step is not None:
                    corrected[id] = step
                continue
            kept.add(taken.slot)
            self._slots[id] = taken.slot
            prior = self._state.get(taken.slot)
            if step is not None:
                step = self._sparing(step, prior, taken)
            if step is not None or (prior is None and id in waiting_for_nothing):
                objects = taken.objects
                if not self._state.journal.is_durable:
                    objects = tuple(each for each in objects if not self._rules.is_as_desired(each, spec))
                corrected[id] = (step or Step(id=id)).in_slot(taken.slot, objects)
        for id, spec in leaving.items():
            taken = self._rules.taken(spec, lookup, items)
            slot = taken.slot if taken is not None else self._slots.get(id, "")
            prior = self._state.get(slot) if slot and slot not in kept else None
            if prior is None:
                # Never taken, or still taken by another spec: there is nothing to undo.
                continue
            step = steps.get(id)
            if step is not None and taken is not None:
                step = self._sparing(step, prior, taken)
            given_back = Step[Any, O](id=id) if step is None else step
            if prior.saved and not self._rules.side_by_side:
                seen = () if taken is None else taken.objects
                is_ours = all(self._rules.is_as_desired(each, spec) for each in seen)
                restore = prior.saved if prior.changed and is_ours and taken is not None else ()
                given_back = Step(id=id, remove=seen if restore else (), restore=restore)
            corrected[id] = attrs.evolve(given_back, slot=slot, forget=True)
        return {id: self._with_losses(step, items) for id, step in corrected.items()}

    def _with_losses(self, step: Step[Any, O], items: Mapping[K, A]) -> Step[Any, O]:
        if not step.remove:
            return step
        losing = {self._rules.loss(seen, items) for seen in step.remove} - {0}
        return attrs.evolve(step, losing=frozenset(losing)) if losing else step

    def _sparing(self, step: Step[Any, O], prior: Prior | None, taken: Taken[O]) -> Step[Any, O] | None:
        """The step without what it would remove of others, where these can stay; None if nothing is left of it."""
        if not self._rules.side_by_side:
            return step
        foreign = taken.objects if prior is None else tuple(self._rules.read(each.message) for each in prior.saved)
        remove = tuple(each for each in step.remove if each not in foreign)
        if not remove and step.add is None:
            return None
        return attrs.evolve(step, remove=remove)


@attrs.frozen
class SlotKeeper(Generic[O]):
    """What is recorded and restored around the steps of a worker. All calls block, and raise OSError.

    The record is shared by all workers; it is thread-safe.
    """

    _state: PriorState
    _rules: SlotRules[Any, Any, Any, O]

    def before(self, netns: str | None, kernel: RtnlSocket, steps: Collection[Step[Any, O]]) -> None:
        """Record what is to be recorded before these steps are taken. If it fails, they must not be."""
        self._note(kernel, steps)
        losing = {index for step in steps for index in step.losing}
        meant = {step.slot for step in steps if step.remove}
        self._state.before_loss(netns, losing, meant)

    def after(self, netns: str | None, steps: Iterable[Step[Any, O]]) -> None:
        """After these steps: restore what links lost, and forget the slots that were given back."""
        self.restore_losses(netns)
        self._state.note({step.slot: None for step in steps if step.forget})

    def restore_losses(self, netns: str | None) -> None:
        """Restore what links lost, as far as they can have it now."""
        for index in self._state.links_with_losses():
            self._state.restore_losses(netns, index)

    def restore(self, kernel: RtnlSocket, step: Step[Any, O], remove: Callable[[O], None]) -> None:
        """Give a slot back as it was: in place if that gives the same, else by making it again."""
        for saved in step.restore:
            put_back(kernel, saved, self._state.now(), replace=True)
        there = {identity(saved): read for saved, read in self._bodies(kernel)}
        for saved in step.restore:
            found = there.get(identity(saved))
            if found == self._rules.read(saved.message):
                continue
            if found is not None:
                remove(found)
            put_back(kernel, saved, self._state.now())

    def _note(self, kernel: RtnlSocket, steps: Iterable[Step[Any, O]]) -> None:
        """Record what the slots of these steps hold, and which of them are about to change."""
        notes: dict[str, Prior | None] = {}
        unknown: dict[str, tuple[O, ...]] = {}
        for step in steps:
            if not step.slot or step.forget:
                continue
            prior = self._state.get(step.slot)
            changes = not self._rules.side_by_side and bool(step.remove or step.add)
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
        self._state.note(notes)

    def _bodies(self, kernel: RtnlSocket) -> list[tuple[Saved, O]]:
        now = self._state.now()
        return [(save(message, now), self._rules.read(message)) for message in self._rules.list(kernel)]


async def load_record(state: PriorState) -> None:
    """Read the record before anything is decided by it. Raises OSError."""
    if not state.journal.is_durable:
        return
    damage = await trio.to_thread.run_sync(state.journal.load)
    if damage:
        structlog.get_logger().error("the record of what was there before is lost", reason=damage)
