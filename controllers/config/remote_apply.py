"""`nodespan apply` and `patch` for nodes of other machines, by the original's machine API."""

import sys
from typing import Any, Final

from ruamel.yaml import YAML

from nodespan.controllers.config.patched import patched
from nodespan.controllers.config.sources import SourceText
from nodespan.controllers.remote.nodes import NodeClient, Target, each_node, run
from nodespan.resources.wire import machine_pb2 as wire
from nodespan.runtime.api.grpc.client import CallError
from nodespan.runtime.cli.errors import CommandError
from nodespan.runtime.codec.duration import parse_duration
from nodespan.runtime.codec.wire import resource_pb2 as cosi
from nodespan.runtime.text.escaping import escaped

_APPLY: Final = "/machine.MachineService/ApplyConfiguration"
_GET: Final = "/cosi.resource.State/Get"
_MODES = wire.ApplyConfigurationRequest
_LINES = "\n"


def apply_remotely(target: Target, action: str, arguments: dict[str, Any]) -> int:
    """Do at every node what the arguments of the local action say; returns the exit status. Raises CommandError."""
    request = wire.ApplyConfigurationRequest(mode=_MODES.AUTO, dry_run=action == "config.dry-run")
    if action not in ("config.apply", "config.dry-run"):
        raise CommandError("--confirm and --cancel are for the node itself: apply again there, or wait for the end")
    if "timeout" in arguments:
        request.mode = _MODES.TRY
        try:
            request.try_mode_timeout.FromTimedelta(parse_duration(str(arguments["timeout"])))
        except ValueError as error:
            raise CommandError(
                f"--timeout {arguments['timeout']!r} is not a duration: write it like 1m or 90s"
            ) from error
    if arguments.get("staged"):
        request.mode = _MODES.STAGED
    files, patches = arguments.get("files") or [], arguments.get("patches") or []

    async def one(client: NodeClient) -> None:
        base = files or [("the configuration in effect", await _current(client))]
        message = wire.ApplyConfigurationRequest()
        message.CopyFrom(request)
        sources = [SourceText(name=name, text=raw.decode(errors="replace")) for name, raw in base]
        # A file goes as it is: what is no text is refused there, by its place.
        is_as_given = len(base) == 1 and not patches
        message.data = base[0][1] if is_as_given else patched(sources, list(patches)).encode()
        # Patches may have changed nothing but the notation.
        if not files and message.data == patched(sources, []).encode():
            sys.stdout.write(f"{client.node}: Apply was skipped: no changes detected.\n")
            return
        answer = await client.call(_APPLY, message, wire.ApplyConfigurationResponse.FromString)
        for each in answer.messages:
            for warning in each.warnings:
                sys.stderr.write(f"{client.node}: {escaped(warning, keep=_LINES)}\n")
            sys.stdout.write(f"{client.node}: {escaped(each.mode_details, keep=_LINES)}\n")

    return run(lambda: each_node(target, one))


async def _current(client: NodeClient) -> bytes:
    """The text of the configuration in effect at a node."""
    request = cosi.GetRequest(namespace="config", type="MachineConfigs.config.talos.dev", id="v1alpha1")
    try:
        answer = await client.call(_GET, request, cosi.GetResponse.FromString)
    except CallError as error:
        raise CommandError(f"the configuration in effect cannot be read: {error}") from error
    return config_text(answer.resource.spec.yaml_spec).encode()


def config_text(yaml_spec: str) -> str:
    """The configuration in the YAML form of its resource: a text there, or the configuration itself."""
    return text if isinstance(text := YAML(typ="safe").load(yaml_spec), str) else yaml_spec
