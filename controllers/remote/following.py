"""Resources of a node as they change, also over the times when the node is away."""

from collections.abc import Callable

import trio

from nodespan.controllers.remote.nodes import RECONNECT, Absence, Answer, Asked, NodeClient, explained, usable
from nodespan.runtime.api.grpc import Code
from nodespan.runtime.api.grpc.client import CallError
from nodespan.runtime.cli.get import Follower


async def follow(client: NodeClient, asked: Asked, follower: Follower) -> None:
    """Show the resources of a node as they change; waits for the node when it was away.

    Raises CallError, CommandError.
    """
    absence = Absence(client.node)
    while True:
        show_next = follower.stream()

        def show(answer: Answer, show_next: Callable[[Answer], None] = show_next) -> None:
            absence.is_over()
            with usable():
                show_next(answer)

        try:
            await client.watch(asked, show)
        except CallError as error:
            if error.code not in (Code.UNAVAILABLE, Code.ABORTED) or not follower.has_begun:
                raise
            if error.code is Code.UNAVAILABLE:
                absence.say(explained(error))
        await trio.sleep(RECONNECT)
