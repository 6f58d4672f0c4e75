"""`nodespan get` of other machines: the resources of several nodes in one output. And the way to the other verbs."""

import argparse
from collections.abc import Iterable

import attrs

from nodespan.controllers.remote.following import follow
from nodespan.controllers.remote.nodes import (
    Answer,
    Asked,
    NodeClient,
    Target,
    each_node,
    in_order,
    run,
    say_failure,
    usable,
)
from nodespan.runtime.cli.errors import CommandError
from nodespan.runtime.cli.get import Follower, Output, make_output


class RemoteVerbs:
    """The verbs, for the nodes that the options name."""

    def get(self, options: argparse.Namespace) -> int:
        """Show the resources; returns the exit status. Raises CommandError."""
        asked = Asked(options.type, options.id, options.namespace, tuple(options.labels), "")
        return get(Target.of(options), asked, output=options.output, watch=options.watch)

    def overview(self, options: argparse.Namespace) -> int:
        """Show how the nodes are, and what happened; returns the exit status. Raises CommandError."""
        from nodespan.controllers.remote import overview

        return overview.run_verb(Target.of(options), options)


def get(target: Target, asked: Asked, *, output: str, watch: bool) -> int:
    """Show resources of several nodes in one output. Returns the exit status; raises CommandError."""
    shown = make_output(output, target.nodes[0], watch=watch)
    asked = attrs.evolve(asked, form=shown.form)

    async def list_one(client: NodeClient, kept: dict[str, list[Answer]]) -> None:
        kept[client.node] = await client.list(asked)

    async def listed() -> int:
        kept: dict[str, list[Answer]] = {}
        status = await each_node(target, lambda client: list_one(client, kept))
        for node in in_order(target, kept):
            try:
                with usable():
                    _show(shown, kept[node])
            except CommandError as error:
                status = 1
                say_failure(node, error)
        shown.flush()
        return status

    async def follow_one(client: NodeClient) -> None:
        await follow(client, asked, Follower(shown, of_one=asked.id is not None))

    async def followed() -> int:
        return await each_node(target, follow_one)

    return run(followed if watch else listed)


def _show(shown: Output, answers: Iterable[Answer]) -> None:
    for answer in answers:
        if "definition" in answer:
            shown.begin(answer["definition"])
        else:
            shown.show(answer["event"], answer)


remote = RemoteVerbs()
