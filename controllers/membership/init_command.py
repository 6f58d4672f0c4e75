"""`nodespan init`: makes a mesh, of which this machine is the first node.

The command line finds it by the entry-point group `nodespan.commands`; imports are deferred until it is used.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from nodespan.runtime.cli.errors import CommandError

if TYPE_CHECKING:
    import datetime

    from nodespan.controllers.membership.machine_config import Mesh
    from nodespan.controllers.membership.options import Place

_DISCOVERY_PORT = 3000
_ROOT = "nodespan-discovery"
_ADMIN = "os:admin"


class InitCommand:
    """The verb `init`."""

    description = "make a mesh, with this machine as its first node"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the verb's arguments."""
        from nodespan.controllers.membership import options

        parser.add_argument("--cluster-name", metavar="NAME", default="nodespan", help="(%(default)s)")
        parser.add_argument(
            "--discovery", action="store_true", help=f"run the discovery service here too, at port {_DISCOVERY_PORT}"
        )
        parser.add_argument(
            "--endpoint", metavar="URL", help="URL of the discovery service; default: the public one of Talos Linux"
        )
        parser.add_argument(
            "--ca", metavar="FILE", help="PEM file of the CA of that service's certificate, if not a known one"
        )
        parser.add_argument(
            "--no-api",
            action="store_true",
            help="nothing listens for --nodes and for machines that join: tokens hold the secrets themselves",
        )
        options.add_limits(parser)
        options.add_patches(parser)
        options.add_place(parser)
        options.add_start(parser)

    def run(self, options: argparse.Namespace) -> int:
        """Make the mesh; returns the exit status. Raises CommandError."""
        from nodespan.controllers.membership.options import explained

        return explained(_init, options)


def _init(options: argparse.Namespace) -> int:
    from nodespan.controllers.membership import arrival, service
    from nodespan.controllers.membership import options as common
    from nodespan.controllers.membership.requirements import obstacles
    from nodespan.controllers.membership.token_command import new_token

    if options.discovery and (options.endpoint or options.ca):
        raise CommandError("--discovery runs the service here: leave --endpoint and --ca out")
    if options.uses < 0:
        raise CommandError("--uses: give a number of machines, or leave it out")
    common.seconds(options.ttl)
    place = common.Place.of(options)
    addresses = options.addresses or common.own_addresses()
    if not addresses and (options.discovery or not options.no_api):
        raise CommandError("no route leads out of this machine: give the --address at which others reach it")
    mesh = common.membership(place.config)
    if mesh is None:
        tcp = [] if options.no_api else [common.API_PORT, common.TRUST_PORT]
        tcp += [_DISCOVERY_PORT] if options.discovery else []
        is_running = arrival.answers(place.socket)
        common.refuse(
            obstacles(
                directories=(place.config.parent, place.state_dir),
                tcp=() if is_running else tcp,
                udp=() if is_running else (common.KUBESPAN_PORT,),
            )
            if not options.no_start
            else obstacles_of_writing(place)
        )
        mesh = _make(options, place, addresses)
    elif mesh.cluster_name != options.cluster_name or not (mesh.authority and mesh.authority.key):
        raise CommandError(
            f"this machine is a member of the mesh {mesh.cluster_name!r} already, by {place.config}: `nodespan token` "
            "lets others join; to leave it, `nodespan leave`, and move that file away"
        )
    else:
        common.print_line(f"the mesh {mesh.cluster_name!r} was made before, in {place.config}; it is kept")
    files = _discovery_files(place)
    units = (service.DISCOVERY_UNIT,) if files[0].exists() else ()
    has_api = bool(mesh.authority) and not options.no_api
    is_started = not options.no_start and common.start(
        place, arrival.Goal(api=has_api), timeout=options.timeout, units=units
    )
    if not is_started:
        if units:
            serve = f"nodespan discovery serve --tls-cert {files[0]} --tls-key {files[1]}"
            common.print_line(f"start the discovery service:\n\n    {serve}\n")
        common.print_line(f"start the agent:\n\n    {common.agent_command(place)}\n")
    token = new_token(
        place,
        offline=not has_api,
        uses=options.uses,
        ttl=options.ttl,
        endpoints=[common.host_port(address, common.TRUST_PORT) for address in addresses],
    )
    common.print_line(f"{token.note}\n\n    nodespan join {token.line}\n")
    return 0


def obstacles_of_writing(place: "Place") -> list[str]:
    """What keeps files from being written, where nothing is started."""
    from nodespan.controllers.membership.requirements import no_room

    return [reason for each in (place.config.parent, place.state_dir) if (reason := no_room(each))]


def _make(options: argparse.Namespace, place: "Place", addresses: list[str]) -> "Mesh":
    """Write the files of a new mesh; the configuration comes last, for it makes this machine a member."""
    import datetime

    from nodespan.controllers.common.secret_file import write_secret
    from nodespan.controllers.membership import options as common
    from nodespan.controllers.membership.machine_config import NodePart, config_text, new_mesh, read_mesh
    from nodespan.controllers.secrets.authority import new_authority
    from nodespan.resources.config.kubespan import DEFAULT_DISCOVERY_ENDPOINT
    from nodespan.runtime.whole_file import replace_file

    now = datetime.datetime.now(datetime.UTC)
    roots: tuple[tuple[str, str], ...] = ()
    url = options.endpoint or DEFAULT_DISCOVERY_ENDPOINT
    if options.discovery:
        roots = ((_ROOT, _discovery_certificate(place, addresses, now)),)
        url = f"https://{common.host_port(addresses[0], _DISCOVERY_PORT)}/"
    elif options.ca:
        roots = (("discovery", Path(options.ca).read_text()),)
    mesh = new_mesh(options.cluster_name, url, trusted_roots=roots, authority=new_authority(now))
    node = NodePart(
        control_plane=True,
        has_key=True,
        cert_sans=tuple(options.addresses),
        nodespan={} if options.no_api else {"api": {"listen": f"[::]:{common.API_PORT}"}},
    )
    text = config_text(mesh, purpose=f"The first node of the mesh {mesh.cluster_name!r}.", node=node)
    text = common.patched_text(text, options.patches, place.config)
    client = place.config.with_name("talosconfig")
    replace_file(client, _client_text(mesh, addresses, now), mode=0o600)
    write_secret(place.config, text)
    common.print_line(f"made the mesh {mesh.cluster_name!r}: {place.config}")
    if not options.no_api:
        common.print_line(f"for `nodespan --nodes` and talosctl, on any machine: nodespan config merge {client}")
    if url == DEFAULT_DISCOVERY_ENDPOINT:
        common.print_line(
            f"its nodes find each other through {url}, the public service of Talos Linux, whose operator's terms apply"
        )
    return read_mesh(place.config)[0]


def _client_text(mesh: "Mesh", addresses: list[str], now: "datetime.datetime") -> str:
    from nodespan.controllers.remote.talosconfig import Context, TalosConfig, config_text
    from nodespan.controllers.secrets.authority import issue_client

    assert mesh.authority is not None  # a new mesh has one
    admin = issue_client(mesh.authority, [_ADMIN], now)
    context = Context(
        endpoints=tuple(addresses),
        authority=mesh.authority.certificate,
        certificate=admin.certificate,
        key=admin.key,
        cluster=mesh.cluster_name,
    )
    return config_text(TalosConfig(context=mesh.cluster_name, contexts={mesh.cluster_name: context}))


def _discovery_files(place: "Place") -> tuple[Path, Path]:
    directory = place.config.parent / "discovery"
    return directory / "tls.crt", directory / "tls.key"


def _discovery_certificate(place: "Place", addresses: list[str], now: "datetime.datetime") -> str:
    """Write the certificate of the discovery service and its key; returns the authority that the nodes trust.

    Its key is forgotten: what the machines of the mesh trust from now on can sign nothing more.
    """
    import os
    from ipaddress import ip_address

    from nodespan.controllers.secrets.authority import AUTHORITY_LIFETIME, issue_server, new_authority
    from nodespan.runtime.pem import standard_key
    from nodespan.runtime.whole_file import make_directory, replace_file

    authority = new_authority(now)
    name = os.uname().nodename
    numeric, names = [], [name]
    for address in addresses:
        try:
            numeric.append(ip_address(address))
        except ValueError:
            names.append(address)
    pair = issue_server(authority, name, numeric, names, now, AUTHORITY_LIFETIME)
    certificate, key = _discovery_files(place)
    make_directory(certificate.parent, mode=0o700)
    replace_file(key, standard_key(pair.key), mode=0o600)
    replace_file(certificate, pair.certificate, mode=0o600)
    return authority.certificate.decode()


command = InitCommand()
