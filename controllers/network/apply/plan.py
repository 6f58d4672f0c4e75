"""What stands between what is desired and what the kernel has: steps to do now, and what has to wait."""

from typing import Generic, TypeVar

import attrs

from nodespan.kernel.saved_objects import Saved

A = TypeVar("A")
W = TypeVar("W")


@attrs.frozen(kw_only=True)
class Step(Generic[W, A]):
    """For one spec, by its id: kernel objects to remove, and what to add. `add_first`: the order that leaves no gap.

    `instead` are objects that adding replaces, as far as they are not removed first.

    `slot` is where in the kernel this is, and `taken` what it holds, which is noted before the step. `forget`:
    afterwards nothing needs to be known of the slot any more. `restore` is what was there
    before the agent, instead of what is removed. `losing` are links that may lose more than what is removed.
    """

    id: str
    remove: tuple[A, ...] = ()
    add: W | None = None
    add_first: bool = False
    instead: tuple[A, ...] = attrs.field(default=(), eq=False)
    slot: str = ""
    taken: tuple[A, ...] = attrs.field(default=(), eq=False)
    forget: bool = False
    losing: frozenset[int] = frozenset()
    restore: tuple[Saved, ...] = ()

    def in_slot(self, slot: str, taken: tuple[A, ...]) -> "Step[W, A]":
        """The same step, of a slot that holds this. Every step comes this way, so it does without `attrs.evolve`."""
        return Step(
            id=self.id,
            remove=self.remove,
            add=self.add,
            add_first=self.add_first,
            instead=self.instead,
            slot=slot,
            taken=taken,
            forget=self.forget,
            losing=self.losing,
            restore=self.restore,
        )


@attrs.frozen(kw_only=True)
class Plan(Generic[W, A]):
    """The steps in order, and for each spec that cannot be served yet, the reason. What is in neither is as desired.

    `refused` are those that will not be served as long as things are as they are, which an operator should know.
    """

    steps: tuple[Step[W, A], ...] = ()
    waiting: dict[str, str] = attrs.field(factory=dict)
    refused: dict[str, str] = attrs.field(factory=dict)
