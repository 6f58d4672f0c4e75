"""`nodespan init`: makes a mesh, of which this machine is the first node.

The command line finds it by the entry-point group `nodespan.commands`; imports are deferred until it is used.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from nodespan.runtime.cli.errors import CommandError

if TYPE_CHECKING:
    import datetime

    from nodespan.controllers.membership.machine_config import Mesh
    from nodespan.controllers.membership.options import Place

_DISCOVERY_PORT = 3000
_ROOT = "nodespan-discovery"


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
            "--relay",
            dest="relays",
            metavar="URL",
            action="append",
            nargs="?",
            const="",
            default=[],
            help="a relay for nodes that others cannot reach; may be repeated; without a URL the discovery service of "
            "--discovery relays too",
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


@attrs.frozen(kw_only=True)
class _Draft:
    """What a new mesh consists of, before any of it is written. The configuration is the last of the files."""

    mesh: "Mesh"
    listen: str
    url: str
    files: tuple[tuple[Path, str | bytes], ...] = attrs.field(repr=False)

    def check(self) -> None:
        """Refuse to replace anything. Raises CommandError."""
        there = [str(path) for path, _ in self.files if os.path.lexists(path)]
        if there:
            raise CommandError(
                f"{', '.join(there)}: there already, perhaps as the only key of another mesh: move it away, or give "
                "another place by --config. Nothing was changed"
            )

    def write(self) -> None:
        """Write all of it or nothing. Raises OSError."""
        from nodespan.runtime.whole_file import create_file, make_directory

        written = []
        try:
            for path, content in self.files:
                make_directory(path.parent, mode=0o700)
                create_file(path, content)
                written.append(path)
        except BaseException:
            for path in written:
                path.unlink(missing_ok=True)
            raise


def _init(options: argparse.Namespace) -> int:
    from nodespan.controllers.config.loading import read_and_load
    from nodespan.controllers.membership import arrival, service
    from nodespan.controllers.membership import options as common
    from nodespan.controllers.membership.token_command import new_token

    if options.discovery and (options.endpoint or options.ca):
        raise CommandError("--discovery runs the service here: leave --endpoint and --ca out")
    if "" in options.relays and not options.discovery:
        raise CommandError("--relay: give the URL of the relay, or --discovery for a service here that relays too")
    if options.uses < 0:
        raise CommandError("--uses: give a number of machines, or leave it out")
    common.seconds(options.ttl)
    place = common.Place.of(options)
    known = common.membership(place.config)
    if known is None:
        _make(options, place)
    else:
        _keep(options, place, known)
    listen = read_and_load(place.config).config.nodespan.api.listen
    files = _discovery_files(place)
    units = (service.DISCOVERY_UNIT,) if files[0].exists() else ()
    is_started = not options.no_start and common.start(
        place, arrival.Goal(api=bool(listen)), timeout=options.timeout, units=units
    )
    if not is_started:
        if units:
            serve = f"nodespan discovery serve --tls-cert {files[0]} --tls-key {files[1]}"
            relay = f" {_relay_options(options)}" if "" in options.relays else ""
            common.print_line(f"start the discovery service:\n\n    {serve}{relay}\n")
        common.print_line(f"start the agent:\n\n    {common.agent_command(place)}\n")
    token = new_token(place, offline=not listen, uses=options.uses, ttl=options.ttl, addresses=options.addresses)
    common.print_line(f"{token.note}\n\n    {token.line}\n")
    return 0


def _make(options: argparse.Namespace, place: "Place") -> None:
    """Make a mesh. Raises CommandError, MachineConfigError, OSError."""
    from nodespan.controllers.membership import arrival
    from nodespan.controllers.membership import options as common
    from nodespan.controllers.membership.requirements import obstacles, obstacles_of_writing
    from nodespan.resources.config.kubespan import DEFAULT_DISCOVERY_ENDPOINT

    draft = _draft(options, place)
    draft.check()
    if options.no_start:
        common.refuse(obstacles_of_writing(place.directories))
    elif arrival.answers(place.socket):
        common.refuse(obstacles(directories=place.directories))
    else:
        port = common.port_of(draft.listen) if draft.listen else 0
        tcp = [port, port + 1] if port else []
        tcp += [_DISCOVERY_PORT] if options.discovery else []
        common.refuse(obstacles(directories=place.directories, tcp=tcp, udp=(common.KUBESPAN_PORT,)))
    draft.write()
    common.print_line(f"made the mesh {draft.mesh.cluster_name!r}: {place.config}")
    if draft.listen:
        client = _client_file(place)
        common.print_line(f"for `nodespan --nodes` and talosctl, on any machine: nodespan config merge {client}")
    if "" in options.relays:
        common.print_line("its discovery service relays too: a firewall must let UDP in at the ports 21000 to 24999")
    if draft.url == DEFAULT_DISCOVERY_ENDPOINT:
        common.print_line(
            f"its nodes find each other through {draft.url}, the public service of Talos Linux, whose operator's terms "
            "apply"
        )


def _keep(options: argparse.Namespace, place: "Place", mesh: "Mesh") -> None:
    """Keep a mesh that was made before. Raises CommandError if the options are for another one."""
    from nodespan.controllers.config.loading import read_and_load
    from nodespan.controllers.membership import options as common

    if mesh.cluster_name != options.cluster_name or not (mesh.authority and mesh.authority.key):
        raise CommandError(
            f"this machine is a member of the mesh {mesh.cluster_name!r} already, by {place.config}: `nodespan token` "
            "lets others join; to leave it, `nodespan leave`, and move that file away"
        )
    listen = read_and_load(place.config).config.nodespan.api.listen
    urls = [service.url for service in mesh.services]
    other = ""
    if options.discovery and not all(file.exists() for file in _discovery_files(place)):
        other = f"--discovery: it has no discovery service of its own, but uses {' and '.join(urls)}"
    elif options.no_api and listen and not options.patches:
        other = f"--no-api: its API listens at {listen}"
    elif options.endpoint and options.endpoint not in urls and not options.patches:
        other = f"--endpoint: it uses {' and '.join(urls)}"
    elif (missing := _missing_relays(options, urls, mesh.relays)) and not options.patches:
        other = f"--relay: its relays are {' and '.join(mesh.relays) or 'none'}, not {' and '.join(missing)}"
    if other:
        raise CommandError(
            f"the mesh {mesh.cluster_name!r} was made before, in {place.config}, in another way; {other}. Leave that "
            "option out, or change the configuration by `nodespan patch`"
        )
    if listen:
        common.reached_at(listen, options.addresses)
    common.print_line(f"the mesh {mesh.cluster_name!r} was made before, in {place.config}; it is kept")


def _draft(options: argparse.Namespace, place: "Place") -> _Draft:
    """A new mesh; nothing is written. Raises CommandError, MachineConfigError, OSError."""
    import datetime

    from nodespan.controllers.config.apply_command import read_patches
    from nodespan.controllers.membership import options as common
    from nodespan.controllers.membership.machine_config import (
        NodePart,
        admin_client_text,
        config_text,
        mesh_of,
        new_mesh,
        read_authority,
        read_text,
    )
    from nodespan.controllers.secrets.authority import new_authority
    from nodespan.resources.config.kubespan import DEFAULT_DISCOVERY_ENDPOINT

    now = datetime.datetime.now(datetime.UTC)
    roots: tuple[tuple[str, str], ...] = ()
    files: list[tuple[Path, str | bytes]] = []
    url = options.endpoint or DEFAULT_DISCOVERY_ENDPOINT
    if options.discovery:
        addresses = common.reached_at("", options.addresses)
        root, files = _discovery_certificate(place, addresses, now)
        roots = ((_ROOT, root),)
        url = _own_service(addresses)
        if "" in options.relays:
            files.append(_relay_file(place, options))
    elif options.ca:
        roots = (("discovery", read_authority(options.ca)),)
    # One without a URL is the discovery service, here.
    relays = tuple(dict.fromkeys(relay or url for relay in options.relays))
    mesh = new_mesh(options.cluster_name, url, trusted_roots=roots, authority=new_authority(now), relays=relays)
    node = NodePart(
        control_plane=True,
        has_key=True,
        cert_sans=tuple(options.addresses),
        nodespan={} if options.no_api else {"api": {"listen": f"[::]:{common.API_PORT}"}},
    )
    text = config_text(mesh, purpose=f"The first node of the mesh {mesh.cluster_name!r}.", node=node)
    text = common.patched_text(text, read_patches(options.patches), place.config)
    config = read_text(text, str(place.config))
    mesh, _ = mesh_of(config, str(place.config))
    if not (mesh.authority and mesh.authority.key):
        raise CommandError(
            "a patch takes machine.ca or its key away: the first node issues the certificates of the others"
        )
    listen = config.nodespan.api.listen
    endpoints = []
    if listen:
        port = common.port_of(listen)
        endpoints = [
            address if port == common.API_PORT else common.host_port(address, port)
            for address in common.reached_at(listen, options.addresses)
        ]
    files.append((_client_file(place), admin_client_text(mesh, endpoints, now)))
    files.append((place.config, text))
    return _Draft(mesh=mesh, listen=listen, url=url, files=tuple(files))


def _own_service(addresses: Sequence[str]) -> str:
    """The URL of a discovery service on this machine."""
    from nodespan.controllers.membership import options as common

    return f"https://{common.host_port(addresses[0], _DISCOVERY_PORT)}/"


def _missing_relays(options: argparse.Namespace, services: list[str], relays: Sequence[str]) -> list[str]:
    """The URLs of the given relays that are none of the mesh's; for one without a URL any of its services will do."""
    from nodespan.controllers.membership import options as common

    missing = [url for url in options.relays if url and url not in relays]
    if "" in options.relays:
        own = _own_service(common.reached_at("", options.addresses))
        if not any(url in relays for url in (own, *services)):
            missing.append(own)
    return missing


def _relay_options(options: argparse.Namespace) -> str:
    """The options with which the discovery service relays: it announces addresses, of which names are none."""
    from nodespan.controllers.membership import options as common
    from nodespan.resources.addresses import parse_address

    found: dict[int, str] = {}
    for each in common.reached_at("", options.addresses):
        try:
            found.setdefault(parse_address(each).version, each)
        except ValueError:
            continue
    return " ".join(("--relay", *(f"--relay-address {each}" for each in found.values())))


def _relay_file(place: "Place", options: argparse.Namespace) -> tuple[Path, str]:
    """The file from which the unit of the discovery service has its options. Raises CommandError."""
    file = place.config.parent / "discovery.env"
    if os.path.lexists(file):
        raise CommandError(
            f"{file}: there already: move it away, or add --relay to its OPTIONS= and give the URL of the service to "
            "--relay here. Nothing was changed"
        )
    return file, f"# Written by `nodespan init --relay`.\nOPTIONS={_relay_options(options)}\n"


def _client_file(place: "Place") -> Path:
    return place.config.with_name("talosconfig")


def _discovery_files(place: "Place") -> tuple[Path, Path]:
    directory = place.config.parent / "discovery"
    return directory / "tls.crt", directory / "tls.key"


def _discovery_certificate(
    place: "Place", addresses: list[str], now: "datetime.datetime"
) -> tuple[str, list[tuple[Path, str | bytes]]]:
    """The authority that the nodes trust, and the files of the discovery service: its certificate, and the key of that.

    The authority's key is forgotten: what the machines of the mesh trust from now on can sign nothing more.
    """
    from ipaddress import ip_address

    from nodespan.controllers.secrets.authority import AUTHORITY_LIFETIME, issue_server, new_authority
    from nodespan.runtime.pem import standard_key

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
    return authority.certificate.decode(), [(key, standard_key(pair.key)), (certificate, pair.certificate)]


command = InitCommand()
