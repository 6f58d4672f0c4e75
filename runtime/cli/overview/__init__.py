"""The verbs that show how a node is, and what happened: status, events, describe, doctor, support, logs."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # An agent that serves its log uses a module of this package, and parses no arguments.
    import argparse


def run(options: "argparse.Namespace") -> int:
    """Run one of them; returns the exit status. Raises CommandError."""
    from nodespan.runtime.cli.options import socket_of

    if getattr(options, "nodes", None) or getattr(options, "context", None):
        from nodespan.runtime.cli.extension import load_remote

        return load_remote().overview(options)
    match options.verb:
        case "events":
            from nodespan.runtime.cli.overview.events import events

            return events(
                socket_of(options),
                output=options.output,
                since=options.since,
                kinds=options.kinds,
                last=options.last,
                watch=options.watch,
            )
        case "status":
            from nodespan.runtime.cli.overview.status import status

            return status(
                socket_of(options), output=options.output, watch=options.watch, strict=options.strict, all=options.all
            )
        case "describe":
            from nodespan.runtime.cli.overview.describe import describe

            return describe(socket_of(options), options.type, options.id, namespace=options.namespace)
        case "doctor":
            from nodespan.runtime.cli.overview.doctor import doctor

            return doctor(options)
        case "support":
            from nodespan.runtime.cli.overview.support import support

            return support(options)
        case "logs":
            from nodespan.runtime.cli.overview.logs import logs

            return logs(socket_of(options), lines=options.lines, follow=options.follow, since=options.since)
        case _:
            raise ValueError(f"no verb of this package: {options.verb}")
