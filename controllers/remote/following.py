"""Resources of a node as they change, also over the times when the node is away."""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import trio

from nodespan.controllers.remote.nodes import Answer, Asked, NodeClient, explained
from nodespan.runtime.api.grpc import Code
from nodespan.runtime.api.grpc.client import CallError
from nodespan.runtime.cli.get import Follower

_RECONNECT = 1.0


async def follow(
    client: NodeClient,
    asked: Asked,
    follower: Follower,
    guarded: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> None:
    """Show the resources of a node as they change, within `guarded`; waits for the node when it was away.

    Raises CallError, CommandError.
    """
    is_away = False
    while True:
        show = follower.stream()

        def take(answer: Answer, show: Callable[[Answer], None] = show) -> None:
            with guarded():
                show(answer)

        try:
            await client.watch(asked, take)
        except CallError as error:
            if error.code not in (Code.UNAVAILABLE, Code.ABORTED) or not follower.has_begun:
                raise
            if not is_away and error.code is Code.UNAVAILABLE:
                sys.stderr.write(f"{client.node}: {explained(error)}; trying again\n")
            is_away = error.code is Code.UNAVAILABLE
        await trio.sleep(_RECONNECT)
