"""`nodespan version` of other machines: the call of the original, which its nodes answer too."""

import sys
from typing import Final

from google.protobuf.empty_pb2 import Empty

from nodespan.controllers.remote.nodes import NodeClient, Target, each_node, in_order, run
from nodespan.resources.wire import machine_pb2 as wire
from nodespan.runtime.cli.errors import CommandError
from nodespan.runtime.cli.version import print_own
from nodespan.runtime.text.escaping import bounded

VERSION: Final = "/machine.MachineService/Version"


def version(target: Target) -> int:
    """Print the version of this command and those of the nodes; returns the exit status. Raises CommandError."""
    kept: dict[str, str] = {}

    async def one(client: NodeClient) -> None:
        answer = await client.call(VERSION, Empty(), wire.VersionResponse.FromString)
        if not answer.messages:
            raise CommandError("it says nothing of its version")
        found = answer.messages[0]
        if found.metadata.error:
            raise CommandError(bounded(found.metadata.error))
        machine = f"{found.version.os}/{found.version.arch}"
        lines = (("NODE", client.node), ("Tag", found.version.tag), ("OS/Arch", machine))
        kept[client.node] = "".join(f"    {f'{name}:':<10}{bounded(text)}\n" for name, text in lines)

    status = run(lambda: each_node(target, one))
    print_own()
    for node in in_order(target, kept):
        sys.stdout.write(f"Server:\n{kept[node]}")
    return status
