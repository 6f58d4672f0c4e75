"""Names are looked up beside everything else that the agent does in threads."""

import socket
import threading
from typing import Any

import pytest
import trio

from nodespan.runtime.cli.agent import Lookups


async def test_look_ups_that_hang_leave_the_threads_of_everything_else_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    answered, asked = threading.Event(), threading.Semaphore(0)

    def silent(*_: Any) -> list[Any]:
        asked.release()
        answered.wait()
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 80))]

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    lookups = Lookups(threads=2)
    limiter = trio.to_thread.current_default_thread_limiter()
    try:
        for _ in range(2):
            # Given up, and still in its thread.
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(lookups.getaddrinfo, b"db.example", 80)
                    await trio.to_thread.run_sync(asked.acquire)
                    scope.cancel()
        assert limiter.borrowed_tokens == 0
        assert await trio.to_thread.run_sync(lambda: "done") == "done"
        # The third waits for one of the two, and can be given up.
        with trio.move_on_after(0) as scope:
            await lookups.getaddrinfo(b"db.example", 80)
        assert scope.cancelled_caught
    finally:
        answered.set()
    assert (await lookups.getaddrinfo(b"db.example", 80))[0][4] == ("192.0.2.1", 80)
