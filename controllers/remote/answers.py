"""The answers of a node's own service, which are not trusted: bounded, and an error where they cannot be shown."""

import json
from collections.abc import Callable
from typing import Any

from nodespan.controllers.remote.nodes import Answer, NodeClient, usable
from nodespan.resources.wire import node_pb2 as wire
from nodespan.runtime.api.grpc import Code
from nodespan.runtime.api.grpc.client import CallError
from nodespan.runtime.cli.errors import CommandError

_PATIENCE = 30.0
# More than any node has checks, or a resource has causes that are shown.
_MOST_ANSWERS = 10_000
# Of one node. What it says is kept until it has said all.
MOST_BYTES = 32 * 2**20


class UnknownToNodeError(CommandError):
    """The node does not have the service."""


async def receive(
    client: NodeClient,
    path: str,
    request: Any,
    take: Callable[[Answer], None],
    *,
    within: float | None = _PATIENCE,
    most_answers: int = _MOST_ANSWERS,
    most_bytes: int = MOST_BYTES,
) -> None:
    """Give the answers of a node to `take` as they come, for so many seconds: None is for ever, and without bounds.

    Raises CallError, CommandError.
    """
    count = size = 0
    try:
        async with client.stream(path, request, wire.Answer.FromString, timeout=within) as answers:
            async for answer in answers:
                count, size = count + 1, size + len(answer.json)
                if within is not None and count > most_answers:
                    raise CommandError(f"it answers more than {most_answers} times")
                if within is not None and size > most_bytes:
                    raise CommandError(f"it answers with more than {most_bytes // 2**20} MiB")
                with usable():
                    take(_decoded(answer))
    except CallError as error:
        if error.code is Code.UNIMPLEMENTED:
            raise UnknownToNodeError(
                "it does not answer this: it is a node of Talos, or its nodespan is older than this command"
            ) from error
        raise


def _decoded(answer: wire.Answer) -> Answer:
    found = json.loads(answer.json)
    if not isinstance(found, dict):
        raise TypeError("no object")
    return found


def text_in(answer: Answer, key: str) -> str:
    """The text under a key. Raises TypeError for anything else."""
    if not isinstance(found := answer[key], str):
        raise TypeError(f"{key!r} is no text")
    return found
