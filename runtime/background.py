"""Tasks that live as long as a block of code."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Generic, TypeVar

import trio

Value = TypeVar("Value")


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


class Held(Generic[Value]):
    """What an async context manager gives, kept open by a task of its own until it is released.

    For what several tasks share and none of them outlives: the one that opens it and the one that closes it may be any.
    """

    def __init__(self) -> None:
        self._value: list[Value] = []
        self._failure: Exception | None = None
        self._is_open = trio.Event()
        self._is_unused = trio.Event()
        self._is_closed = trio.Event()

    @classmethod
    async def open(cls, manager: AbstractAsyncContextManager[Value]) -> "Held[Value]":
        """Enter a context manager. Raises what that raises."""
        held = cls()
        trio.lowlevel.spawn_system_task(held._hold, manager, name=repr(manager))
        await held._is_open.wait()
        if not held._value:
            await held.release()
        return held

    @property
    def value(self) -> Value:
        """What it gives."""
        return self._value[0]

    async def release(self) -> None:
        """Leave the context manager, and wait until it has been left. Raises what broke it."""
        self._is_unused.set()
        await self._is_closed.wait()
        if self._failure is not None:
            raise self._failure

    async def _hold(self, manager: AbstractAsyncContextManager[Value]) -> None:
        try:
            async with manager as value:
                self._value.append(value)
                self._is_open.set()
                await self._is_unused.wait()
        except Exception as error:
            self._failure = error
        finally:
            self._is_open.set()
            self._is_closed.set()
