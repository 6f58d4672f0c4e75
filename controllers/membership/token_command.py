"""`nodespan token`: lets other machines join the mesh of this node.

The command line finds it by the entry-point group `nodespan.commands`; imports are deferred until it is used.
"""

import argparse
import time
from typing import TYPE_CHECKING

import attrs

from nodespan.runtime.cli.errors import CommandError

if TYPE_CHECKING:
    from nodespan.controllers.membership.options import Place


class TokenCommand:
    """The verb `token`."""

    description = "let other machines join the mesh of this node"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the verb's actions."""
        from nodespan.controllers.membership import options

        actions = parser.add_subparsers(dest="action", required=True, metavar="create|list|revoke")
        create = actions.add_parser("create", description="Print a new token, for `nodespan join`.")
        create.add_argument(
            "--offline",
            action="store_true",
            help="one that holds the secrets of the mesh: it needs no control plane, and has no limits",
        )
        options.add_limits(create)
        options.add_place(create)
        options.add_place(actions.add_parser("list", description="List the tokens that this node takes."))
        revoke = actions.add_parser("revoke", description="Have this node take a token no longer.")
        revoke.add_argument("ids", metavar="ID", nargs="+", help="as `nodespan token list` shows it")
        options.add_place(revoke)

    def run(self, options: argparse.Namespace) -> int:
        """Make, list or revoke; returns the exit status. Raises CommandError."""
        from nodespan.controllers.membership.options import explained

        return explained({"create": _create, "list": _list, "revoke": _revoke}[options.action], options)


@attrs.frozen
class NewToken:
    """The line, and a sentence on what it is good for."""

    line: str = attrs.field(repr=False)
    note: str


def new_token(place: "Place", *, offline: bool, uses: int, ttl: str, addresses: list[str]) -> NewToken:
    """A token for the mesh of this node; its agent need not run yet. Blocks on the disk.

    `addresses` at which others reach the node, none for those of its routes.

    Raises CommandError, MachineConfigError, InvitationError, OSError.
    """
    from nodespan.controllers.config.loading import read_and_load
    from nodespan.controllers.membership import options as common
    from nodespan.controllers.membership.invitations import UNLIMITED, InvitationFile, invite
    from nodespan.controllers.membership.machine_config import read_mesh
    from nodespan.controllers.membership.token import Description, InvitationToken, encode, listening_everywhere
    from nodespan.runtime.whole_file import make_directory

    if not place.config.exists():
        raise CommandError(f"{place.config} does not exist: this machine is part of no mesh; `nodespan init` makes one")
    mesh, _ = read_mesh(place.config)
    listen = read_and_load(place.config).config.nodespan.api.listen
    if offline:
        line = encode(Description(mesh=mesh, api=listening_everywhere(listen)))
        return NewToken(
            line,
            "This line holds the secrets of the mesh, and lets any machine join at any time, with "
            "`sudo nodespan join -`, which asks for it:",
        )
    if not (mesh.authority and mesh.authority.key and mesh.token and listen):
        raise CommandError(
            "this node takes no tokens: it has no key of the authority (machine.ca), no machine.token, or no "
            "api.listen in its NodespanConfig. Ask a control plane, or make one with --offline"
        )
    lifetime = common.seconds(ttl)
    now = time.time()
    port = common.port_of(listen) + 1
    endpoints = tuple(common.host_port(address, port) for address in common.reached_at(listen, addresses))
    invitation, secret = invite(uses=uses or UNLIMITED, expires=None if lifetime is None else now + lifetime)
    make_directory(place.state_dir, mode=0o700)
    InvitationFile(place.state_dir).add(invitation, now)
    token = InvitationToken(
        endpoints=endpoints,
        authority=mesh.authority.certificate,
        cluster_id=mesh.cluster_id,
        id=invitation.id,
        secret=secret,
    )
    how_many = "any number of machines" if not uses else "one machine" if uses == 1 else f"{uses} machines"
    until = "" if lifetime is None else f" within {ttl}"
    return NewToken(
        encode(token), f"By this line {how_many} may join{until}, with `sudo nodespan join -`, which asks for it:"
    )


def _create(options: argparse.Namespace) -> int:
    from nodespan.controllers.membership import options as common

    if options.uses < 0:
        raise CommandError("--uses: give a number of machines, or leave it out")
    place = common.Place.of(options)
    token = new_token(place, offline=options.offline, uses=options.uses, ttl=options.ttl, addresses=options.addresses)
    common.print_line(token.line)
    return 0


def _list(options: argparse.Namespace) -> int:
    import datetime

    from nodespan.controllers.membership import options as common
    from nodespan.controllers.membership.invitations import UNLIMITED, InvitationFile
    from nodespan.runtime.text.table import Table

    table = Table(["ID", "USES LEFT", "EXPIRES", "STATE"])
    for each in InvitationFile(common.Place.of(options).state_dir).read():
        uses = "any" if each.uses == UNLIMITED else str(each.uses)
        expires = "never"
        if each.expires is not None:
            expires = datetime.datetime.fromtimestamp(each.expires, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        table.add([each.id, uses, expires, each.ended(time.time()) or "valid"])
    common.print_line(table.flush().rstrip("\n"))
    return 0


def _revoke(options: argparse.Namespace) -> int:
    from nodespan.controllers.membership import options as common
    from nodespan.controllers.membership.invitations import InvitationFile

    file = InvitationFile(common.Place.of(options).state_dir)
    unknown = [id for id in options.ids if not file.revoke(id)]
    if unknown:
        raise CommandError(f"not known here: {', '.join(unknown)}; `nodespan token list` shows those that are")
    return 0


command = TokenCommand()
