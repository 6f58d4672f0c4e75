"""`nodespan gen`: machine configurations for a mesh, WireGuard keys, and files for Prometheus and Grafana.

The command line finds it by the entry-point group `nodespan.commands`; imports are deferred until it is used.
"""

import argparse
import datetime
import re
import secrets
import sys
from pathlib import Path

from nodespan.runtime.cli.errors import CommandError

_SHARED = "config"
_CLIENT = "talosconfig"
# A node's name is also a file name.
_NODE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,62}")


class GenCommand:
    """The verb `gen`."""

    description = "generate the configuration of a mesh, a WireGuard key, or files for monitoring"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the verb's arguments."""
        actions = parser.add_subparsers(dest="action", required=True, metavar="config|key|alerts|dashboard")
        config = actions.add_parser(
            "config",
            description="Generate the machine configuration of a mesh, with a new cluster id and secret, or of nodes "
            "that join the mesh of an existing configuration.",
        )
        config.add_argument("--cluster-name", metavar="NAME", help="name of the new mesh")
        config.add_argument(
            "--endpoint", metavar="URL", help="URL of the discovery service; default: the public one of Talos Linux"
        )
        config.add_argument(
            "--ca", metavar="FILE", help="PEM file of the CA of that service's certificate, if not a known one"
        )
        config.add_argument(
            "--join", metavar="FILE", help="an existing machine configuration, for example of a Talos node"
        )
        config.add_argument(
            "-p",
            "--config-patch",
            dest="patches",
            metavar="PATCH",
            action="append",
            default=[],
            help="change each file by this patch: its text, or @FILE; repeatable, applied in order",
        )
        config.add_argument("--output-dir", metavar="DIR", default=".", help="output directory (%(default)s)")
        config.add_argument(
            "--control-planes",
            metavar="NAME",
            nargs="+",
            default=[],
            help="of --nodes: the control planes, which alone get the key of the API's authority; default: every node",
        )
        config.add_argument(
            "--nodes",
            metavar="NAME",
            nargs="+",
            default=[],
            help="one file for each of these nodes instead of one for all",
        )
        key = actions.add_parser("key", description="Print a new private key of WireGuard, base64.")
        key.add_argument(
            "--public", action="store_true", help="read a private key from standard input and print its public key"
        )

        actions.add_parser("alerts", description="Print alert rules for Prometheus: a file for its rule_files.")
        actions.add_parser("dashboard", description="Print a dashboard for Grafana, to be imported there: JSON.")

    def run(self, options: argparse.Namespace) -> int:
        """Write the requested files; returns the exit status. Raises CommandError."""
        if options.action in ("alerts", "dashboard"):
            return _gen_monitoring(options.action)
        from nodespan.controllers.membership.machine_config import MachineConfigError

        try:
            return _gen_key(public=options.public) if options.action == "key" else _gen_config(options)
        except MachineConfigError as error:
            raise CommandError(str(error)) from error
        except OSError as error:
            raise CommandError(f"{error.filename}: {error.strerror}") from error


def _gen_monitoring(what: str) -> int:
    if what == "alerts":
        from nodespan.controllers.overview.monitoring.alerts import rules
        from nodespan.runtime.codec.yamltext import dump

        sys.stdout.write(dump(rules()))
    else:
        import json

        from nodespan.controllers.overview.monitoring.dashboard import dashboard

        sys.stdout.write(f"{json.dumps(dashboard(), indent=2)}\n")
    return 0


def _gen_config(options: argparse.Namespace) -> int:
    from nodespan.controllers.common.secret_file import write_secret
    from nodespan.controllers.membership.machine_config import (
        NodePart,
        admin_client_text,
        config_text,
        new_mesh,
        read_authority,
        read_mesh,
    )
    from nodespan.controllers.secrets.authority import new_authority
    from nodespan.resources.config.kubespan import DEFAULT_DISCOVERY_ENDPOINT

    files = _files(Path(options.output_dir), options.nodes)
    client = Path(options.output_dir) / _CLIENT
    if unknown := sorted(set(options.control_planes) - set(options.nodes)):
        raise CommandError(f"--control-planes: {', '.join(unknown)} is not among the --nodes")
    remarks: tuple[str, ...] = ()
    of_client = ""
    if options.join:
        if options.cluster_name or options.endpoint or options.ca:
            raise CommandError(
                "--join takes name, discovery service and trusted roots from the file: "
                "leave --cluster-name, --endpoint and --ca out"
            )
        mesh, remarks = read_mesh(Path(options.join))
    elif not options.cluster_name:
        raise CommandError("give the new mesh a --cluster-name, or the configuration of an existing one with --join")
    else:
        roots = (("discovery", read_authority(options.ca)),) if options.ca else ()
        if client.exists():
            raise CommandError(f"{client} exists, and may be in use: move it away, or choose another --output-dir")
        now = datetime.datetime.now(datetime.UTC)
        mesh = new_mesh(
            options.cluster_name,
            options.endpoint or DEFAULT_DISCOVERY_ENDPOINT,
            trusted_roots=roots,
            authority=new_authority(now),
        )
        of_client = admin_client_text(mesh, options.control_planes or options.nodes, now)
    called = f"the mesh {mesh.cluster_name!r}" if mesh.cluster_name else "the mesh"
    texts = {
        file: config_text(
            mesh,
            purpose=f"The node {node} of {called}." if node else f"Any node of {called}.",
            node=NodePart(
                control_plane=node in options.control_planes,
                has_key=not options.control_planes or node in options.control_planes,
            ),
        )
        for file, node in files.items()
    }
    if options.patches:
        from nodespan.controllers.config.apply_command import read_patches
        from nodespan.controllers.config.patched import patched
        from nodespan.controllers.config.sources import SourceText

        patches = read_patches(options.patches)
        texts = {file: patched([SourceText(name=str(file), text=text)], patches) for file, text in texts.items()}
    if of_client:
        texts[client] = of_client
    for file, text in texts.items():
        write_secret(file, text)
        sys.stdout.write(f"{file}\n")
    for remark in remarks:
        sys.stdout.write(f"note: {remark}\n")
    urls = [service.url for service in mesh.services]
    sys.stdout.write(_what_to_do(bool(options.nodes), urls, uses_public=DEFAULT_DISCOVERY_ENDPOINT in urls))
    return 0


def _gen_key(*, public: bool) -> int:
    from nodespan.kernel.wireguard.keys import KEY_SIZE, new_private_key, public_key_of

    if not public:
        sys.stdout.write(f"{new_private_key(secrets.token_bytes(KEY_SIZE))}\n")
        return 0
    try:
        sys.stdout.write(f"{public_key_of(sys.stdin.read().strip())}\n")
    except ValueError as error:
        raise CommandError(f"standard input is not a private key: {error}; nodespan gen key makes one") from error
    return 0


def _files(directory: Path, nodes: list[str]) -> dict[Path, str]:
    """The files to write with their nodes, "" for any node. Raises CommandError if one exists."""
    for node in nodes:
        if not _NODE_NAME.fullmatch(node):
            raise CommandError(f"--nodes: {node!r} is not a valid node name: use letters, digits, hyphens and dots")
    if len(set(nodes)) < len(nodes):
        raise CommandError("--nodes: a name is given twice")
    if not directory.is_dir():
        raise CommandError(f"--output-dir {directory}: there is no such directory")
    files = {directory / f"{node or _SHARED}.yaml": node for node in (nodes or [""])}
    for file in files:
        if file.exists():
            raise CommandError(
                f"{file} exists, and its secret may be in use: move it away, or choose another --output-dir"
            )
    return files


def _what_to_do(has_own_files: bool, urls: list[str], *, uses_public: bool) -> str:
    lines = [
        "Each node gets its file" if has_own_files else "All nodes get the same file",
        ", as /etc/nodespan/config.yaml with mode 0600; anyone who has it can join the mesh.\n",
        "What a node may have of its own is described at its top. Check it after changes:\n\n",
        "    nodespan validate /etc/nodespan/config.yaml\n\n",
        f"The nodes find each other through {', '.join(urls)}; their records there are encrypted.\n",
    ]
    if uses_public:
        lines.append(
            "That is the public service of Talos Linux, and its operator's terms apply; for your own one use\n"
            "--endpoint, see nodespan discovery serve --help.\n"
        )
    return "".join(lines)


command = GenCommand()
