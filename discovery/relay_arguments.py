"""The options of a relay on the command line: of `nodespan relay serve`, and of a discovery service that relays."""

import argparse
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING

from nodespan.runtime.cli.errors import CommandError

if TYPE_CHECKING:
    from nodespan.discovery.relay.relay import RelayOptions

_PORTS = "21000-24999"
_LOWEST_PORT, _HIGHEST_PORT = 1024, 65535
_BYTES_PER_MEGABIT = 125_000
# Of clients, and of Mbit/s.
_MOST = 1_000_000


def add_relay_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--relay-address",
        metavar="ADDR",
        action="append",
        default=[],
        help="the public address of the relay, once for IPv4 and once for IPv6 (the one that nodes connect to)",
    )
    parser.add_argument(
        "--relay-name",
        metavar="HOST",
        action="append",
        default=[],
        help="a name or address by which nodes dial the relay, if not those of its certificate; may be repeated",
    )
    parser.add_argument(
        "--relay-ports",
        metavar="FIRST-LAST",
        default=_PORTS,
        help="the UDP ports that nodes are given; a firewall must let them in (%(default)s)",
    )
    parser.add_argument(
        "--relay-rate",
        metavar="MBIT",
        type=float,
        default=100.0,
        help="Mbit/s that the relay carries for one node, each way (%(default)s)",
    )
    parser.add_argument(
        "--relay-total-rate", metavar="MBIT", type=float, default=1000.0, help="the same for all nodes (%(default)s)"
    )
    parser.add_argument(
        "--relay-clients", metavar="N", type=int, default=4000, help="nodes that are given an address (%(default)s)"
    )
    parser.add_argument(
        "--relay-cluster-clients", metavar="N", type=int, default=1000, help="of these, in one cluster (%(default)s)"
    )


def relay_options(options: argparse.Namespace) -> "RelayOptions":
    """The options as given. Raises CommandError."""
    from nodespan.discovery.relay.relay import RelayOptions
    from nodespan.discovery.relay.rules import RelayLimits

    for name in ("relay_rate", "relay_total_rate", "relay_clients", "relay_cluster_clients"):
        if not getattr(options, name) > 0:
            raise CommandError(f"--{name.replace('_', '-')}: must be more than 0")
        if getattr(options, name) > _MOST:
            raise CommandError(f"--{name.replace('_', '-')}: must be at most {_MOST}")
    rate, total = options.relay_rate * _BYTES_PER_MEGABIT, options.relay_total_rate * _BYTES_PER_MEGABIT
    return RelayOptions(
        ports=_ports(options.relay_ports),
        addresses=_addresses(options.relay_address),
        limits=RelayLimits(
            clients=options.relay_clients,
            clients_per_cluster=options.relay_cluster_clients,
            rate=rate,
            # One cluster must not take all that there is.
            cluster_rate=max(rate, total / 2),
            total_rate=total,
        ),
        names=tuple(options.relay_name),
        checks_name=not (options.trust_x_real_ip or options.trust_first_x_forwarded_for),
    )


def _ports(text: str) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    if not (dash and first.isdecimal() and last.isdecimal() and len(first) <= 5 and len(last) <= 5):
        raise CommandError(f"--relay-ports {text!r}: write it like {_PORTS}")
    if not _LOWEST_PORT <= int(first) <= int(last) <= _HIGHEST_PORT:
        raise CommandError(f"--relay-ports {text!r}: ports are from {_LOWEST_PORT} to {_HIGHEST_PORT}")
    return int(first), int(last)


def _addresses(texts: list[str]) -> tuple[IPv4Address | IPv6Address, ...]:
    found: dict[int, IPv4Address | IPv6Address] = {}
    for text in texts:
        try:
            address = ip_address(text)
        except ValueError as error:
            raise CommandError(f"--relay-address {text!r}: write it like 192.0.2.1 or 2001:db8::1") from error
        if address.version in found:
            raise CommandError(f"--relay-address {text!r}: give one address of IPv{address.version} only")
        if address.is_unspecified or address.is_multicast:
            raise CommandError(f"--relay-address {text!r}: nobody can be reached at it")
        found[address.version] = address
    return tuple(found.values())
