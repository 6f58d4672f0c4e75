"""`nodespan events` of other machines: what happened on several nodes, as one list by time."""

import argparse
import itertools
import sys
from functools import partial
from typing import TypeVar

from nodespan.controllers.remote.answers import text_in
from nodespan.controllers.remote.following import follow
from nodespan.controllers.remote.nodes import Asked, NodeClient, Target, each_node, in_order, names_of, run, usable
from nodespan.runtime.cli.get import Follower
from nodespan.runtime.cli.overview.events import make_output
from nodespan.runtime.cli.overview.requests import EVENTS
from nodespan.runtime.text.escaping import escaped
from nodespan.runtime.text.width import width_of

T = TypeVar("T")


def last_of(found: list[T], count: int) -> list[T]:
    """The last ones; all if there are not so many."""
    return found[max(0, len(found) - count) :]


def events(target: Target, options: argparse.Namespace) -> int:
    """Show the events of the nodes; with `--watch` until interrupted. Returns the exit status; raises CommandError."""
    width = max(width_of(escaped(name)) for name in names_of(target))
    make = partial(
        make_output,
        options.output,
        since=options.since,
        kinds=options.kinds,
        last=options.last,
        node_width=width,
    )
    shown = make()
    asked = Asked(EVENTS, None, "", (), "data")
    # The events of each node, by time.
    kept: dict[str, list[tuple[str, str]]] = {}

    async def list_one(client: NodeClient) -> None:
        found: list[tuple[str, str]] = []
        for answer in await client.list(asked):
            if "definition" in answer:
                continue
            with usable():
                event = shown.chosen(answer["event"], answer)
                if event is not None:
                    # A whole second has no fraction, and comes before those with one.
                    found.append((text_in(event, "time").removesuffix("Z"), shown.text(event)))
        kept[client.node] = found if options.last is None else last_of(found, options.last)

    async def follow_one(client: NodeClient) -> None:
        await follow(client, asked, Follower(make(), of_one=False))

    if options.watch:
        return run(lambda: each_node(target, follow_one))
    status = run(lambda: each_node(target, list_one))
    every = itertools.chain.from_iterable(kept[node] for node in in_order(target, kept))
    sys.stdout.writelines(text for _, text in sorted(every, key=lambda each: each[0]))
    return status
