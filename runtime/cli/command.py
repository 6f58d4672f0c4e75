"""Runs a command line: its verb, its exit status, its errors. Each verb imports what it needs when it is used."""

import os
import sys
from typing import TYPE_CHECKING

from nodespan.runtime.api.protocol import NO_SUCH_TYPE
from nodespan.runtime.cli import streams
from nodespan.runtime.cli.agent_options import agent_arguments
from nodespan.runtime.cli.errors import CommandError

if TYPE_CHECKING:
    import argparse


def run(arguments: list[str]) -> int:
    """Run the command line; returns the exit status."""
    if arguments[:1] == ["__complete"]:
        from nodespan.runtime.cli.completion import complete

        return complete(arguments[1:])
    if arguments[:1] == ["agent"]:
        from nodespan.runtime.process import lean

        # Before anything imports trio, as the next import does.
        lean.prepare()
        from nodespan.runtime.process import garbage

        # Before its code is loaded, which begins with its options: all of it stays, and would be traversed again and
        # again meanwhile.
        garbage.tune()
    streams.prepare()
    status, failure = 1, ""
    options: argparse.Namespace | None = None
    try:
        if (of_agent := agent_arguments(arguments)) is not None:
            from nodespan.runtime.cli.agent import agent

            status = agent(of_agent)
        else:
            from nodespan.runtime.cli.arguments import parse

            options = parse(arguments)
            status = _dispatch(options)
    except CommandError as error:
        failure = _explained(str(error), options)
    except KeyboardInterrupt:
        status = 130
    except BrokenPipeError:
        status = 0  # the reader of a pipe has seen enough
    except OSError as error:
        failure = streams.explain(error)
    except SystemExit as done:
        # argparse has printed help, or an error in the arguments.
        status = done.code if isinstance(done.code, int) else 0
    unwritten = streams.finish()
    if failure := failure or unwritten:
        streams.report(failure)
        return 1
    return status


def _explained(failure: str, options: "argparse.Namespace | None") -> str:
    if failure.startswith(NO_SUCH_TYPE):
        from nodespan.runtime.cli.habits import advice_on_type

        types = getattr(options, "type", "").split(",")
        return "\n".join([failure, *filter(None, map(advice_on_type, types))])
    namespace = getattr(options, "namespace", "")
    if options is None or not namespace:
        return failure
    from nodespan.runtime.cli.habits import explain_namespace

    return explain_namespace(failure, namespace, options.verb)


def _dispatch(options: "argparse.Namespace") -> int:
    from nodespan.runtime.cli.options import is_remote, socket_of
    from nodespan.runtime.cli.overview.arguments import VERBS as OVERVIEW_VERBS

    match options.verb:
        case "get" if is_remote(options):
            if options.all_namespaces:
                raise CommandError("-A asks the agent of this machine: of others name the namespace with -n")
            from nodespan.runtime.cli.extension import load_remote

            return load_remote().get(options)
        case "get":
            from nodespan.runtime.cli.get import get

            return get(
                socket_of(options),
                options.type,
                options.id,
                output=options.output,
                namespace=options.namespace,
                selectors=options.labels,
                watch=options.watch,
                node=options.node or os.uname().nodename,
                all_namespaces=options.all_namespaces,
            )
        case "create":
            from nodespan.runtime.cli.resources import write_files

            return write_files(socket_of(options), "create", options.filenames)
        case "edit":
            from nodespan.runtime.cli.resources import edit

            return edit(socket_of(options), options.type, options.id, namespace=options.namespace)
        case "delete":
            from nodespan.runtime.cli.resources import delete

            return delete(
                socket_of(options), options.type, options.ids, namespace=options.namespace, wait=not options.no_wait
            )
        case "label":
            from nodespan.runtime.cli.resources import label

            return label(socket_of(options), options.type, options.id, options.changes, namespace=options.namespace)
        case "why" if is_remote(options):
            from nodespan.runtime.cli.extension import load_remote

            return load_remote().overview(options)
        case "why":
            from nodespan.runtime.cli.why import why

            return why(
                socket_of(options),
                options.type,
                options.id,
                namespace=options.namespace,
                depth=options.depth,
                verbose=options.verbose,
            )
        case "leave":
            from nodespan.runtime.cli.leave import leave

            return leave(socket_of(options))
        case verb if verb in OVERVIEW_VERBS:
            from nodespan.runtime.cli.overview import run as run_overview

            return run_overview(options)
        case "agent":
            from nodespan.runtime.cli.agent import agent

            return agent(options)
        case "graph":
            from nodespan.runtime.cli.graph import graph

            return graph(options)
        case "validate":
            from nodespan.runtime.cli.validate import validate

            return validate(options.files, verbose=options.verbose, strict=options.strict)
        case "version" if is_remote(options) and not options.client:
            from nodespan.runtime.cli.extension import load_remote

            return load_remote().overview(options)
        case "version":
            from nodespan.runtime.cli.version import version

            return version(None if options.client else socket_of(options))
        case "completion":
            from nodespan.runtime.cli.completion import script

            sys.stdout.write(script(options.shell))
            return 0
        case _:
            status: int = options.extension.run(options)
            return status
