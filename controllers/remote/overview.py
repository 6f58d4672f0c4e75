"""`nodespan status`, `doctor`, `describe` and `why` of other machines; the verbs beside them have their own modules.

The nodes make what is shown, and are not trusted to make it well: what cannot be shown is an error of its node alone.
"""

import argparse
import sys
from typing import Any, Final

import trio

from nodespan.controllers.remote.answers import UnknownToNodeError, receive, text_in
from nodespan.controllers.remote.nodes import (
    RECONNECT,
    Absence,
    Answer,
    Asked,
    NodeClient,
    Target,
    each_node,
    explained,
    in_order,
    run,
    usable,
)
from nodespan.resources.wire import node_pb2 as wire
from nodespan.runtime.api.grpc import Code
from nodespan.runtime.api.grpc.client import CallError
from nodespan.runtime.cli.errors import CommandError
from nodespan.runtime.cli.overview import describe, doctor
from nodespan.runtime.cli.overview.requests import EVENTS
from nodespan.runtime.cli.overview.status import ReportOutput, exit_status
from nodespan.runtime.cli.screen import for_terminal
from nodespan.runtime.cli.why import brief, draw
from nodespan.runtime.overview.check import Outcome, Verdict
from nodespan.runtime.text.escaping import escaped

STATUS: Final = "/nodespan.api.NodeService/Status"
CAUSES: Final = "/nodespan.api.NodeService/Causes"
CHECK: Final = "/nodespan.api.NodeService/Check"
# Seconds for all checks of a node: each of those that connect may wait for some.
_CHECKING = 300.0


def run_verb(target: Target, options: argparse.Namespace) -> int:
    """Run the verb that the options are of; returns the exit status. Raises CommandError."""
    match options.verb:
        case "status":
            shown = ReportOutput(options.output, watch=options.watch, all=options.all)
            return _watch_status(target, shown) if options.watch else _status(target, shown, strict=options.strict)
        case "doctor":
            if options.config or options.state_dir:
                raise CommandError("--config and --state-dir are for this machine: a node looks at its own files")
            doctor.require_known(options.output)
            return _doctor(target, options)
        case "describe":
            asked = Asked(options.type, options.id, options.namespace, (), "data")
            return _describe(target, asked)
        case "why":
            request = wire.CausesRequest(
                namespace=options.namespace, type=options.type, id=options.id, depth=max(0, options.depth)
            )
            return _why(target, request, is_verbose=options.verbose)
        case "events":
            from nodespan.controllers.remote.events import events

            return events(target, options)
        case "logs":
            from nodespan.controllers.remote.logs import logs

            return logs(target, options)
        case "support":
            from nodespan.controllers.remote.support import support

            return support(target, options)
        case "version":
            from nodespan.controllers.remote.version import version

            return version(target)
        case _:
            raise ValueError(f"no verb of this module: {options.verb}")


def _status(target: Target, shown: ReportOutput, *, strict: bool) -> int:
    reports: dict[str, Answer] = {}
    texts: dict[str, str] = {}

    async def one(client: NodeClient) -> None:
        def take(answer: Answer) -> None:
            report = answer["status"]
            exit_status([report], strict=strict)  # of a report without what it needs, it raises
            texts[client.node], reports[client.node] = shown.text(report, node=client.node), report

        await receive(client, STATUS, wire.StatusRequest(), take)

    status = run(lambda: each_node(target, one))
    order = in_order(target, reports)
    shown.write(texts[node] for node in order)
    return status or exit_status((reports[node] for node in order), strict=strict)


def _watch_status(target: Target, shown: ReportOutput) -> int:
    texts: dict[str, str] = {}

    async def one(client: NodeClient) -> None:
        absence = Absence(client.node)

        def take(answer: Answer) -> None:
            absence.is_over()
            texts[client.node] = shown.text(answer["status"], node=client.node)
            # A screen shows all nodes at once; for programs each report is a document of its own.
            seen = in_order(target, texts) if shown.is_screen else [client.node]
            shown.write(texts[node] for node in seen)

        while True:
            try:
                await receive(client, STATUS, wire.StatusRequest(watch=True), take, within=None)
            except CallError as error:
                if error.code is not Code.UNAVAILABLE or client.node not in texts:
                    raise
                absence.say(explained(error))
            await trio.sleep(RECONNECT)

    return run(lambda: each_node(target, one))


def _doctor(target: Target, options: argparse.Namespace) -> int:
    kept: dict[str, doctor.Found] = {}

    async def one(client: NodeClient) -> None:
        found: doctor.Found = []

        def take(answer: Answer) -> None:
            verdict = Verdict(Outcome(answer["outcome"]), text_in(answer, "text"), text_in(answer, "remedy"))
            found.append((text_in(answer, "check"), verdict))

        await receive(client, CHECK, wire.CheckRequest(only=options.only), take, within=_CHECKING)
        kept[client.node] = found

    status = run(lambda: each_node(target, one))
    order = in_order(target, kept)
    texts = [doctor.whole_text(kept[node], options.output, node=node) for node in order]
    if options.output == "json":
        sys.stdout.write(for_terminal("".join(texts)))
    elif options.output == "yaml":
        sys.stdout.write(for_terminal("---\n".join(texts)))
    else:
        sys.stdout.write("\n".join(texts))
    return status or max((doctor.exit_status(kept[node], strict=options.strict) for node in order), default=0)


def _describe(target: Target, asked: Asked) -> int:
    kept: dict[str, str] = {}

    async def one(client: NodeClient) -> None:
        head, *answers = await client.list(asked)
        definition, resources = head["definition"], [answer["resource"] for answer in answers]
        if not resources:
            with usable():
                raise describe.none_of(definition, asked.namespace)
        events = await _events(client)
        found = [(resource, await _causes(client, resource["metadata"])) for resource in resources]
        with usable():
            lines = describe.lines_of_all(definition, found, events, node=client.node)
            kept[client.node] = "".join(f"{line}\n" for line in lines)

    status = run(lambda: each_node(target, one))
    sys.stdout.write("\n".join(kept[node] for node in in_order(target, kept)))
    return status


def _why(target: Target, request: wire.CausesRequest, *, is_verbose: bool) -> int:
    kept: dict[str, str] = {}

    async def one(client: NodeClient) -> None:
        found: list[Answer] = []
        await receive(client, CAUSES, request, found.append)
        with usable():
            lines = [f"== {client.node}", *map(escaped, draw(found if is_verbose else brief(found)))]
            kept[client.node] = "".join(f"{line}\n" for line in lines)

    status = run(lambda: each_node(target, one))
    sys.stdout.write("\n".join(kept[node] for node in in_order(target, kept)))
    return status


async def _events(client: NodeClient) -> list[dict[str, Any]]:
    try:
        answers = await client.list(Asked(EVENTS, None, "", (), "data"))
    except CommandError:
        return []  # a node of the original has none
    return [answer["resource"]["spec"] for answer in answers if "resource" in answer]


async def _causes(client: NodeClient, metadata: Answer) -> list[Answer] | None:
    """What a resource was made from; None if the node does not know."""
    asked = {key: metadata[key] for key in ("namespace", "type", "id")}
    request = wire.CausesRequest(**asked, depth=describe.DEPTH)
    found: list[Answer] = []
    try:
        await receive(client, CAUSES, request, found.append)
    except UnknownToNodeError:
        return None
    with usable():
        return brief(found)
