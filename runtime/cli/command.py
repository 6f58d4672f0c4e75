"""The verbs of the command line and their options. Each verb imports what it needs when it is used."""

import argparse
import os
import sys

from runtime.cli.errors import CommandError
from runtime.paths import agent_socket, client_socket, default_state_dir

_DESCRIPTION = """\
The networking layers of Talos Linux for any Linux machine: a node agent, and this command to look at it.
"""
_OUTPUTS = ("table", "yaml", "json", "jsonpath=EXPRESSION")


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = argparse.ArgumentParser(prog="nodespan", description=_DESCRIPTION)
    parser.add_argument("--socket", metavar="PATH", help=f"the agent's socket (NODESPAN_SOCKET; {client_socket()})")
    verbs = parser.add_subparsers(dest="verb", metavar="COMMAND", required=True)

    agent = verbs.add_parser("agent", help="run the agent", description="Run the agent in the foreground.")
    agent.add_argument("--config", metavar="FILE", help="the machine configuration; read again when it changes")
    agent.add_argument(
        "--state-dir", metavar="DIR", default=default_state_dir(), help="(NODESPAN_STATE_DIR; %(default)s)"
    )
    # Not lost when given before the verb.
    agent.add_argument(
        "--socket", metavar="PATH", default=argparse.SUPPRESS, help=f"(NODESPAN_SOCKET; {agent_socket()})"
    )
    agent.add_argument(
        "--controllers",
        metavar="MODULE:ATTRIBUTE",
        action="append",
        default=[],
        help="run these controllers too; may be repeated",
    )
    agent.add_argument("--metrics", metavar="HOST:PORT", help="serve Prometheus metrics over HTTP")
    agent.add_argument("--log-format", choices=("auto", "text", "json"), default="auto")
    agent.add_argument("--log-level", choices=("debug", "info", "warning", "error"), default="info")

    get = verbs.add_parser(
        "get",
        aliases=["g"],
        help="show resources",
        description="Show resources of a type, or one of them. `nodespan get rd` lists the types.",
    )
    get.add_argument("type", metavar="TYPE", help="a type or one of its short names")
    get.add_argument("id", metavar="ID", nargs="?", help="one resource")
    get.add_argument("-o", "--output", default="table", metavar="FORM", help=" | ".join(_OUTPUTS))
    get.add_argument("-w", "--watch", action="store_true", help="go on showing what changes")
    get.add_argument("-n", "--namespace", default="", help="the type's default namespace unless given")
    get.add_argument(
        "-l",
        "--labels",
        metavar="SELECTOR",
        action="append",
        default=[],
        help="only with such labels, e.g. app=web,tier!=test; repeated: any of them",
    )
    get.add_argument("--socket", metavar="PATH", default=argparse.SUPPRESS, help=argparse.SUPPRESS)

    graph = verbs.add_parser(
        "graph",
        help="draw which controller reads and writes what",
        description="Draw the dependency graph: as declared, or that of the running agent.",
    )
    graph.add_argument("-o", "--output", choices=("dot", "mermaid", "svg"), default="dot")
    graph.add_argument("--live", action="store_true", help="ask the agent, and show counts of resources and wake-ups")
    graph.add_argument("--controllers", metavar="MODULE:ATTRIBUTE", action="append", default=[], help="draw these too")
    graph.add_argument("--socket", metavar="PATH", default=argparse.SUPPRESS, help=argparse.SUPPRESS)

    validate = verbs.add_parser("validate", help="check a machine configuration", description="Check a configuration.")
    validate.add_argument("file", metavar="FILE", help="- for standard input")

    version = verbs.add_parser("version", help="print the versions of this command and of the agent")
    version.add_argument("--client", action="store_true", help="of this command only")
    version.add_argument("--socket", metavar="PATH", default=argparse.SUPPRESS, help=argparse.SUPPRESS)

    completion = verbs.add_parser(
        "completion",
        help="print a shell's completion script",
        description='Print a completion script; for bash: eval "$(nodespan completion bash)"',
    )
    completion.add_argument("shell", choices=("bash", "zsh", "fish"))
    return parser


def run(arguments: list[str]) -> int:
    """Do what the arguments say; returns the exit status."""
    if arguments[:1] == ["__complete"]:
        from runtime.cli.completion import complete

        return complete(arguments[1:])
    options = build_parser().parse_args(arguments)
    try:
        status = _dispatch(options)
        sys.stdout.flush()
    except CommandError as error:
        print(f"nodespan: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of a pipe has seen enough; keep the interpreter from complaining at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return status


def _dispatch(options: argparse.Namespace) -> int:
    match options.verb:
        case "get" | "g":
            from runtime.cli.get import get

            return get(
                options.socket or client_socket(),
                options.type,
                options.id,
                output=options.output,
                namespace=options.namespace,
                selectors=options.labels,
                watch=options.watch,
            )
        case "agent":
            from runtime.cli.agent import agent

            return agent(options)
        case "graph":
            from runtime.cli.graph import graph

            return graph(options)
        case "validate":
            from runtime.cli.validate import validate

            return validate(options.file)
        case "version":
            from runtime.cli.version import version

            return version(None if options.client else options.socket or client_socket())
        case _:
            from runtime.cli.completion import script

            sys.stdout.write(script(options.shell))
            return 0
