"""`nodespan support` of other machines: one archive with a folder for each node, which takes the secrets out."""

import argparse
import time
from pathlib import Path
from typing import Final

import trio

from nodespan.controllers.remote.answers import receive
from nodespan.controllers.remote.nodes import NodeClient, Target, each_node, explained, in_order, names_of, run
from nodespan.resources.wire import node_pb2 as wire
from nodespan.runtime.api.grpc.client import CallError
from nodespan.runtime.cli.errors import CommandError
from nodespan.runtime.cli.overview.pieces import FilesOfNode
from nodespan.runtime.cli.overview.support import archive_end, archive_name, listed, may_write, packed, plain, write
from nodespan.runtime.overview.support import SupportFile

SUPPORT: Final = "/nodespan.api.NodeService/Support"
# Seconds for one node, which runs its checks too.
_PATIENCE = 330.0
# The files of so many nodes are in memory at once, as they came; those of others are packed.
_AT_ONCE = 4
_MOST_PIECES = 20_000
_MOST_BYTES = 256 * 2**20
_LARGEST_ARCHIVE = 2**30


def support(target: Target, options: argparse.Namespace) -> int:
    """Collect, list, ask, write. Returns the exit status; raises CommandError."""
    if options.config or options.state_dir:
        raise CommandError("--config and --state-dir are for this machine: a node looks at its own files")
    now = time.time()
    name = archive_name("nodes", now)
    folders = folders_of(names_of(target))
    limit = trio.CapacityLimiter(_AT_ONCE)
    # The lines of the list, and the packed files, by node.
    kept: dict[str, tuple[list[str], bytes]] = {}
    answered: set[str] = set()

    async def one(client: NodeClient) -> None:
        async with limit:
            collected = FilesOfNode()
            failure: CallError | CommandError | None = None
            try:
                await receive(
                    client,
                    SUPPORT,
                    wire.SupportRequest(),
                    collected.take,
                    within=_PATIENCE,
                    most_answers=_MOST_PIECES,
                    most_bytes=_MOST_BYTES,
                )
                files = collected.files
                answered.add(client.node)
            except (CallError, CommandError) as error:
                failure = error
                reason = explained(error) if isinstance(error, CallError) else str(error)
                files = [SupportFile("failed.txt", f"{reason}\n")]
            folder = folders[client.node]
            part = await trio.to_thread.run_sync(packed, f"{name}/{folder}", files, now)
            if sum(len(each) for _, each in kept.values()) + len(part) > _LARGEST_ARCHIVE:
                raise CommandError(f"the archive would have more than {_LARGEST_ARCHIVE >> 30} GiB: name fewer nodes")
            kept[client.node] = listed(files, f"{folder}/"), part
            if failure is not None:
                raise failure

    status = run(lambda: each_node(target, one))
    if not answered:
        return status
    order = in_order(target, kept)
    path = Path(options.output or f"{name}.tar.gz")
    if may_write(options, path, [line for node in order for line in kept[node][0]]):
        write(path, b"".join(kept[node][1] for node in order) + archive_end(now))
    return status


def folders_of(nodes: list[str]) -> dict[str, str]:
    """A folder for each node, of its name as far as that is one for a folder."""
    found: dict[str, str] = {}
    for node in nodes:
        wanted = plain(node, keep=".").strip(".") or "node"
        folder, number = wanted, 1
        while folder in found.values():
            number += 1
            folder = f"{wanted}-{number}"
        found[node] = folder
    return found
