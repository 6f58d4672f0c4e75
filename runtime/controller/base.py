"""The two shapes of a controller.

A `Controller` runs one routine that looks at all its inputs whenever something changed. A `QueueController` is called
for each item that changed: use it where there may be many items.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, ClassVar

from nodespan.runtime.controller.context import ControllerContext, QueueContext
from nodespan.runtime.controller.declarations import Input, Output
from nodespan.runtime.resource import Metadata, Pointer


class _Declared:
    # Given on the class, or on the instance where they depend on arguments.
    name: str
    inputs: Iterable[Input] = ()
    outputs: Iterable[Output] = ()
    # Whether it changes nothing but its outputs: then it may run on a copy of the state too, to predict the results of
    # a change.
    only_derives: ClassVar[bool] = False

    @classmethod
    def __subclasshook__(cls, subclass: type) -> bool:
        # Only who inherits is a controller. By default `isinstance` asks each of the hundred subclasses, too, and each
        # remembers its answer: 6,000 of them, a megabyte, after all controllers were asked once.
        return cls in subclass.__mro__

    def __repr__(self) -> str:
        return f"<{self.name}>"


class Controller(_Declared, ABC):
    """One routine that is woken when any of its inputs changed.

    class GreetingController(Controller):
        name = "example.GreetingController"
        inputs = (weak(HostnameStatus),)
        outputs = (exclusive(Greeting),)

        async def run(self, ctx: ControllerContext) -> None:
            async for _ in ctx:
                async with ctx.tracked_outputs(Greeting):
                    for hostname in ctx.list(HostnameStatus):
                        await ctx.put(Greeting, hostname.id, GreetingSpec(text=f"hello {hostname.spec.hostname}"))
    """

    @abstractmethod
    async def run(self, ctx: ControllerContext) -> None:
        """Loop over `ctx` until cancelled; each turn reads all inputs again and writes the outputs.

        Raising restarts it after a growing delay; returning ends it permanently.
        """


class QueueController(_Declared, ABC):
    """Called for each changed item of its primary inputs; changes of other inputs are mapped to such items.

    An item is never reconciled twice at once; changes that arrive meanwhile cause one more call afterwards. Up to
    `concurrency` different items are reconciled at a time.
    """

    concurrency: int = 1

    @abstractmethod
    async def reconcile(self, ctx: QueueContext, item: Pointer[Any]) -> None:
        """Reconcile the outputs of one primary resource; it may have been destroyed by now.

        Raise `Requeue` to be called again after an interval; after any other error the call is retried with backoff.
        """

    def map_input(self, ctx: QueueContext, changed: Metadata) -> Iterable[Pointer[Any]]:
        """The primary resources that a change of a mapped input concerns; they need not exist."""
        raise NotImplementedError(f"{self.name} has mapped inputs but does not map {changed.type}")

    async def run(self, ctx: QueueContext) -> None:
        """Runs concurrently with the calls; returning ends it, raising restarts it after a growing delay."""

    async def shutdown(self, ctx: QueueContext) -> None:
        """Called once, after everything else of the controller has stopped; has a few seconds, shielded."""


class Requeue(Exception):  # noqa: N818  # a request; an error only if it has a cause
    """Raised by a reconciliation that must be called again `after` so many seconds.

    Raised `from` an error, it counts as a crash with this delay (0: the usual growing one); without one it is no crash.
    """

    def __init__(self, after: float) -> None:
        super().__init__(f"again in {after} s")
        self.after = after


class SkipReconcile(Exception):  # noqa: N818  # not an error: there is nothing to do until the next change
    """Raised by a reconciliation that can do nothing until something changes."""
