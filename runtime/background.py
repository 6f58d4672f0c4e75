"""Tasks that live as long as a block of code."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import trio


@contextlib.asynccontextmanager
async def background_tasks() -> AsyncIterator[trio.Nursery]:
    """A nursery for tasks beside the block, which are cancelled at the block's end.

    An error of the block comes out as it is, not in a group. Tasks must see to their own errors: one that they let out
    cancels the block, and comes out in a group.
    """
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        try:
            yield nursery
        except Exception as error:
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


@contextlib.asynccontextmanager
async def background(task: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Run one task beside the block, as `background_tasks` does."""
    async with background_tasks() as nursery:
        nursery.start_soon(task)
        yield
