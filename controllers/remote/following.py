"""Resources of a node as they change, also over the times when the node is away."""

import sys
from collections.abc import Callable

import trio

from nodespan.controllers.remote.nodes import Answer, Asked, NodeClient, explained, usable
from nodespan.runtime.api.grpc import Code
from nodespan.runtime.api.grpc.client import CallError
from nodespan.runtime.cli.get import Follower

_RECONNECT = 1.0


async def follow(client: NodeClient, asked: Asked, follower: Follower) -> None:
    """Show the resources of a node as they change; waits for the node when it was away.

    Raises CallError, CommandError.
    """
    is_away = False
    while True:
        show_next = follower.stream()

        def show(answer: Answer, show_next: Callable[[Answer], None] = show_next) -> None:
            nonlocal is_away
            is_away = False
            with usable():
                show_next(answer)

        try:
            await client.watch(asked, show)
        except CallError as error:
            if error.code not in (Code.UNAVAILABLE, Code.ABORTED) or not follower.has_begun:
                raise
            if not is_away and error.code is Code.UNAVAILABLE:
                sys.stderr.write(f"{client.node}: {explained(error)}; trying again\n")
            is_away = is_away or error.code is Code.UNAVAILABLE
        await trio.sleep(_RECONNECT)
