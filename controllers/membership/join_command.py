"""`nodespan join`: this machine becomes a node of a mesh, by a token.

The command line finds it by the entry-point group `nodespan.commands`; imports are deferred until it is used.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from nodespan.runtime.cli.errors import CommandError

if TYPE_CHECKING:
    from nodespan.controllers.membership.options import Place
    from nodespan.controllers.membership.token import Description, Token


class JoinCommand:
    """The verb `join`."""

    description = "make this machine a node of a mesh, by a token of `nodespan init` or `nodespan token`"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the verb's arguments."""
        from nodespan.controllers.membership import options

        parser.add_argument("token", metavar="TOKEN", help="the line, - to read it from standard input, or @FILE")
        parser.add_argument("--no-api", action="store_true", help="nothing listens for --nodes on this node")
        options.add_patches(parser)
        options.add_place(parser)
        options.add_start(parser)

    def run(self, options: argparse.Namespace) -> int:
        """Join; returns the exit status. Raises CommandError."""
        from nodespan.controllers.membership.options import explained

        return explained(_join, options)


def _join(options: argparse.Namespace) -> int:
    from nodespan.controllers.membership import arrival
    from nodespan.controllers.membership import options as common
    from nodespan.controllers.membership.token import TokenError, cluster_of, decode

    try:
        token = decode(_read(options.token))
    except TokenError as error:
        raise CommandError(str(error)) from error
    place = common.Place.of(options)
    known = common.membership(place.config)
    if known is None:
        _become_member(options, place, token)
    elif known.cluster_id != cluster_of(token):
        raise CommandError(
            f"this machine is a member of the mesh {known.cluster_name!r} already, by {place.config}, and the token is "
            "for another one: `nodespan leave`, and move that file away, before it joins"
        )
    else:
        common.print_line(
            f"this machine is a member of the mesh {known.cluster_name!r} already; its configuration is kept"
        )
    if options.no_start or not common.start(place, arrival.Goal(peers=True), timeout=options.timeout):
        common.print_line(f"start the agent:\n\n    {common.agent_command(place)}\n")
        return 0
    common.print_line("this node is part of the mesh: nodespan get kubespanpeerstatuses")
    return 0


def _become_member(options: argparse.Namespace, place: "Place", token: "Token") -> None:
    from nodespan.controllers.common.secret_file import write_secret
    from nodespan.controllers.membership import arrival
    from nodespan.controllers.membership import options as common
    from nodespan.controllers.membership.init_command import obstacles_of_writing
    from nodespan.controllers.membership.machine_config import NodePart, config_text
    from nodespan.controllers.membership.requirements import obstacles

    if options.no_start:
        common.refuse(obstacles_of_writing(place))
    else:
        udp = () if arrival.answers(place.socket) else (common.KUBESPAN_PORT,)
        common.refuse(obstacles(directories=(place.config.parent, place.state_dir), udp=udp))
    described = _description(token)
    mesh = described.mesh
    api = {"api": {"listen": described.api}} if described.api and mesh.authority and not options.no_api else {}
    called = f"the mesh {mesh.cluster_name!r}" if mesh.cluster_name else "the mesh"
    text = config_text(mesh, purpose=f"A node of {called}.", node=NodePart(nodespan=api))
    text = common.patched_text(text, options.patches, place.config)
    write_secret(place.config, text)
    common.print_line(f"joins {called}: {place.config}")


def _description(token: "Token") -> "Description":
    import trio

    from nodespan.controllers.membership.redeeming import RedeemError, redeem
    from nodespan.controllers.membership.token import InvitationToken

    if not isinstance(token, InvitationToken):
        return token
    try:
        return trio.run(redeem, token)
    except RedeemError as error:
        raise CommandError(f"{error}; nothing was changed") from error


def _read(given: str) -> str:
    """The token that an argument stands for. Raises CommandError, OSError."""
    from nodespan.controllers.membership.own_arguments import hide

    if given == "-":
        return sys.stdin.readline()
    if given.startswith("@"):
        return Path(given[1:]).read_text(errors="replace")
    # Everybody sees the arguments of every process.
    hide(given)
    return given


command = JoinCommand()
