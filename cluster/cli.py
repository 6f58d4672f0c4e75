"""`nodespan cluster`: test clusters in network namespaces of this machine.

The command line finds it by the entry-point group `nodespan.commands`; imports are deferred until it is used.
"""

import argparse
import os
import sys
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from nodespan.runtime.cli.errors import CommandError

# The exit status if a cluster is not possible on this machine, or for this user.
CANNOT = 3
_VIP_CONTROL_PLANES = 3


class ClusterCommand:
    """The verb `cluster`."""

    description = "run several nodes on this machine, one of them behind NAT"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the verb's arguments."""
        actions = parser.add_subparsers(dest="action", required=True, metavar="create|show|exec|destroy")
        create = actions.add_parser(
            "create", description="Create a cluster and show how its nodes find each other. Ctrl-C removes it."
        )
        create.add_argument("--nodes", metavar="N", type=int, default=3, help="number of nodes (%(default)s)")
        create.add_argument(
            "--control-planes",
            metavar="N",
            type=int,
            help=f"number of control planes, the first nodes (1; with --vip {_VIP_CONTROL_PLANES})",
        )
        create.add_argument(
            "--wireguard-cidr",
            metavar="CIDR",
            type=_network,
            help="configure WireGuard devices with addresses of this network, instead of KubeSpan",
        )
        create.add_argument(
            "--vip",
            metavar="IP",
            type=_address,
            help="a virtual IP of the control planes, such as 198.51.100.100, with etcd; instead of KubeSpan",
        )
        create.add_argument(
            "--relay", action="store_true", help="let no node send or receive UDP, and have the discovery service relay"
        )
        create.add_argument(
            "--demonstrate",
            action="store_true",
            help="with --vip: stop, then kill the holder of the virtual IP, and show each takeover with its duration; "
            "with --relay: let UDP through, and show how the pair goes direct; then exit",
        )
        create.add_argument(
            "--with-kubespan",
            action="store_true",
            help="enable KubeSpan; the default unless --wireguard-cidr or --vip is given",
        )
        _add_name(create)
        create.add_argument("--keep", action="store_true", help="leave it running and return")
        create.add_argument(
            "--timeout", metavar="SECONDS", type=float, default=60.0, help="until all nodes must be up (%(default)s)"
        )
        actions.add_parser("show", description="List clusters, their nodes, processes and addresses.")
        execute = actions.add_parser("exec", description="Run a command inside a node.")
        execute.add_argument("station", metavar="NODE")
        execute.add_argument("command", metavar="-- COMMAND", nargs=argparse.REMAINDER)
        destroy = actions.add_parser("destroy", description="Remove a cluster, whatever state it is in.")
        _add_name(destroy)

    def run(self, options: argparse.Namespace) -> int:
        """Run the command; returns the exit status. Raises CommandError."""
        try:
            match options.action:
                case "create":
                    return _create(options)
                case "show":
                    return _show()
                case "exec":
                    return _execute(options.station, options.command)
                case _:
                    return _destroy(options.name)
        except OSError as error:
            if isinstance(error, BrokenPipeError):
                raise
            if isinstance(error, PermissionError) and os.geteuid() != 0:
                raise CommandError("clusters belong to root: run it with sudo") from error
            raise CommandError(str(error)) from error
        except ValueError as error:
            raise CommandError(str(error)) from error


def _add_name(parser: argparse.ArgumentParser) -> None:
    from nodespan.cluster.plan import DEFAULT_NAME

    parser.add_argument(
        "--name",
        metavar="NAME",
        default=DEFAULT_NAME,
        help="the cluster (%(default)s); nodes of any other cluster are called NAME-a and so on",
    )


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}; write it like 10.99.0.0/24") from error


def _address(text: str) -> IPv4Address | IPv6Address:
    try:
        return ip_address(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}; write it like 198.51.100.100") from error


def _create(options: argparse.Namespace) -> int:
    from nodespan.cluster.create import CreateOptions, create
    from nodespan.cluster.plan import Plan
    from nodespan.cluster.requirements import missing_requirements
    from nodespan.cluster.terminal import Terminal

    if options.demonstrate and options.vip is None and not options.relay:
        raise CommandError("--demonstrate needs a virtual IP, for example --vip 198.51.100.100, or --relay")
    if options.relay and (options.vip is not None or options.wireguard_cidr is not None):
        raise CommandError("--relay is for KubeSpan: give neither --vip nor --wireguard-cidr")
    usual_control_planes = 1 if options.vip is None else min(_VIP_CONTROL_PLANES, options.nodes)
    plan = Plan(
        name=options.name,
        size=options.nodes,
        control_planes=usual_control_planes if options.control_planes is None else options.control_planes,
        kubespan=options.with_kubespan or (options.wireguard_cidr is None and options.vip is None),
        wireguard=options.wireguard_cidr,
        vip=options.vip,
        relay=options.relay,
    )
    if missing := missing_requirements(vip=plan.vip is not None):
        for reason in missing:
            sys.stderr.write(f"nodespan: {reason}\n")
        return CANNOT
    asked_for = CreateOptions(plan=plan, keep=options.keep, timeout=options.timeout, demonstrate=options.demonstrate)
    return create(asked_for, Terminal(sys.stdout))


def _show() -> int:
    from nodespan.cluster.show import show
    from nodespan.cluster.terminal import Terminal

    show(Terminal(sys.stdout))
    return 0


def _execute(name: str, command: list[str]) -> int:
    from nodespan.cluster.commands import enter
    from nodespan.cluster.show import station_of

    station = station_of(name)
    words = tuple(command[1:] if command[:1] == ["--"] else command)
    if not words:
        raise CommandError(f"no command to run in {name}, for example: nodespan cluster exec {name} -- wg show")
    line = enter(station, words)
    os.execvp(line[0], line)  # noqa: S606


def _destroy(name: str) -> int:
    from nodespan.cluster.destroy import destroy

    if not destroy(name):
        raise CommandError(f"there is no cluster {name!r}; nodespan cluster show lists all clusters")
    return 0


command = ClusterCommand()
