"""Requests of clients, which a controller answers in its turns, one after the other."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import attrs
import trio

from nodespan.runtime.actions import ActionError
from nodespan.runtime.controller import ControllerContext

Step = Callable[[ControllerContext], Awaitable[str]]


@attrs.define(eq=False)
class Request:
    """A step to be done in a turn, and its outcome."""

    step: Step
    done: trio.Event = attrs.field(factory=trio.Event)
    answer: str = ""
    refusal: str = ""

    async def do(self, ctx: ControllerContext) -> None:
        """Do the step; what it raises because the request cannot be met becomes the refusal."""
        try:
            self.answer = await self.step(ctx)
        except ActionError as error:
            self.refusal = str(error)
        except OSError as error:
            self.refusal = f"{error.filename or 'a file'} cannot be written: {error.strerror or error}"


class Requests:
    """Those that wait for their turn."""

    def __init__(self) -> None:
        self._waiting: list[Request] = []
        self._wake: Callable[[], None] = lambda: None

    def serve(self, wake: Callable[[], None]) -> None:
        """Ask for turns with `wake` from now on."""
        self._wake = wake

    async def submit(self, step: Step) -> str:
        """Have a step done in a turn. Returns its answer when that turn is over; raises ActionError if it is refused.

        Waits as long as there is no turn. If it is cancelled, the step is done all the same.
        """
        request = Request(step)
        self._waiting.append(request)
        self._wake()
        await request.done.wait()
        if request.refusal:
            raise ActionError(request.refusal)
        return request.answer

    @contextmanager
    def turn(self) -> Iterator[list[Request]]:
        """The requests of one turn; they are answered at its end, and refused if it fails."""
        requests, self._waiting = self._waiting, []
        try:
            yield requests
        except BaseException:
            for request in requests:
                request.refusal = request.refusal or "the agent failed to do it: see its log"
            raise
        finally:
            for request in requests:
                request.done.set()
