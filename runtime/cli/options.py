"""Options that several verbs share."""

import argparse

from nodespan.runtime.cli.errors import CommandError
from nodespan.runtime.paths import client_socket, known_nodes, node_socket


def add_socket(parser: argparse.ArgumentParser, default: str) -> None:
    """`--socket`, with the default that the help shows."""
    parser.add_argument(
        "--socket", metavar="PATH", help=f"where the agent listens (NODESPAN_SOCKET; {escaped(default)})"
    )


def add_client_options(parser: argparse.ArgumentParser) -> None:
    """The options of a verb that asks an agent: `--node` and `--socket`."""
    parser.add_argument("--node", metavar="NAME", help=f"the agent of this name ({node_socket('NAME')})")
    add_socket(parser, client_socket())


REMOTE_OPTIONS = ("nodes", "context")


def add_remote_options(parser: argparse.ArgumentParser) -> None:
    """The options that name agents of other machines."""
    parser.add_argument("--nodes", metavar="NAME,...", help="ask these nodes over the network (see nodespan config)")
    parser.add_argument("--context", metavar="NAME", help="of this cluster (see nodespan config)")


def is_remote(options: argparse.Namespace) -> bool:
    """Whether agents of other machines are asked."""
    return bool(options.nodes or options.context)


def nodes_of(options: argparse.Namespace) -> tuple[str, ...]:
    """The names in `--nodes`."""
    return tuple(name for name in (options.nodes or "").split(",") if name)


def escaped(text: str) -> str:
    """A text for argparse, which fills in what follows a percent sign."""
    return text.replace("%", "%%")


def socket_of(options: argparse.Namespace) -> str:
    """The socket of the agent that the options name. Raises CommandError for an unknown node."""
    if options.socket is not None:
        socket: str = options.socket
        return socket
    if options.node is None:
        return client_socket()
    known = known_nodes()
    if options.node not in known:
        from nodespan.runtime.text.suggestions import did_you_mean

        there = f"nodes here: {', '.join(known)}" if known else "there are none on this machine"
        raise CommandError(f"no node {options.node!r}{did_you_mean(options.node, known)} ({there})")
    return node_socket(options.node)
