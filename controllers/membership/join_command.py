"""`nodespan join`: this machine becomes a node of a mesh, by a token.

The command line finds it by the entry-point group `nodespan.commands`; imports are deferred until it is used.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from nodespan.runtime.cli.errors import CommandError

if TYPE_CHECKING:
    from nodespan.controllers.membership.machine_config import Mesh
    from nodespan.controllers.membership.options import Place
    from nodespan.controllers.membership.token import Description, InvitationToken, Token

# Longer than any token, so that one that is longer still is refused as one.
_LONGEST = 1 << 17


class JoinCommand:
    """The verb `join`."""

    description = "make this machine a node of a mesh, by a token of `nodespan init` or `nodespan token`"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the verb's arguments."""
        from nodespan.controllers.membership import options

        parser.add_argument(
            "token",
            metavar="TOKEN",
            help="- to read it from standard input, @FILE, or the line itself, which others then see: sudo shows its "
            "arguments to every user, and logs them",
        )
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
    from nodespan.controllers.config.apply_command import read_patches
    from nodespan.controllers.membership import arrival
    from nodespan.controllers.membership import options as common
    from nodespan.controllers.membership.requirements import obstacles, obstacles_of_writing
    from nodespan.controllers.membership.token import InvitationToken

    patches = read_patches(options.patches)
    if patches and isinstance(token, InvitationToken):
        # A use of the token is gone even if the patches do not fit then.
        _drafted(_stand_in(token), options, place, patches)
    if options.no_start:
        common.refuse(obstacles_of_writing(place.directories))
    else:
        udp = () if arrival.answers(place.socket) else (common.KUBESPAN_PORT,)
        common.refuse(obstacles(directories=place.directories, udp=udp))
    described = _description(token)
    text = _drafted(described, options, place, patches)
    write_secret(place.config, text)
    common.print_line(f"joins {_called(described.mesh)}: {place.config}")


def _drafted(
    described: "Description", options: argparse.Namespace, place: "Place", patches: list[tuple[str, bytes]]
) -> str:
    """The configuration of this node. Raises CommandError, MachineConfigError."""
    from nodespan.controllers.membership import options as common
    from nodespan.controllers.membership.machine_config import NodePart, config_text

    mesh = described.mesh
    api = {"api": {"listen": described.api}} if described.api and mesh.authority and not options.no_api else {}
    text = config_text(mesh, purpose=f"A node of {_called(mesh)}.", node=NodePart(nodespan=api))
    return common.patched_text(text, patches, place.config)


def _called(mesh: "Mesh") -> str:
    return f"the mesh {mesh.cluster_name!r}" if mesh.cluster_name else "the mesh"


def _stand_in(token: "InvitationToken") -> "Description":
    """A mesh like the one that a token is for, with everything that one may have, to try patches on."""
    from nodespan.controllers.membership import options as common
    from nodespan.controllers.membership.machine_config import Mesh
    from nodespan.controllers.membership.token import Description
    from nodespan.controllers.secrets.key_pair import KeyPair

    mesh = Mesh(
        cluster_name="unknown",
        cluster_id=token.cluster_id,
        cluster_secret=token.cluster_id,
        trusted_roots=(("discovery", token.authority.decode()),),
        mtu=1420,
        endpoint_filters=("0.0.0.0/0",),
        exclude_advertised_networks=("192.0.2.0/24",),
        authority=KeyPair(token.authority),
        token=f"{token.id[:6]}.{token.secret[:16]}",
        relays=("https://relay.example.org:3443",),
    )
    return Description(mesh=mesh, api=f"[::]:{common.API_PORT}")


def _description(token: "Token") -> "Description":
    import trio

    from nodespan.controllers.membership.redeeming import RedeemError, redeem
    from nodespan.controllers.membership.token import InvitationToken

    if not isinstance(token, InvitationToken):
        return token
    try:
        return trio.run(redeem, token)
    except RedeemError as error:
        raise CommandError(f"{error}; this machine is not a member of the mesh") from error


def _read(given: str) -> str:
    """The token that an argument stands for. Raises CommandError, OSError."""
    from nodespan.controllers.membership.own_arguments import hide
    from nodespan.runtime.named_file import read_named

    if given == "-":
        if sys.stdin.isatty():
            sys.stderr.write("the token, and Enter: ")
            sys.stderr.flush()
            return sys.stdin.readline()
        # A mail may have broken the line.
        return sys.stdin.buffer.read(_LONGEST).decode(errors="replace")
    if given.startswith("@"):
        return read_named(Path(given[1:]), _LONGEST, streams=True).decode(errors="replace")
    # Everybody sees the arguments of every process.
    hide(given)
    return given


command = JoinCommand()
