"""Checks of the network beside nodespan: other managers, ports, MTU, firewalls of others."""

import errno
import json
import os
import socket
from collections.abc import Callable, Iterator
from typing import Any

from nodespan.controllers.kubespan.data_path import LINK_NAME
from nodespan.controllers.network.managers.link_holders import find_holders
from nodespan.kernel.outside_text import c_text
from nodespan.resources.kubespan import KUBESPAN_PORT
from nodespan.resources.network.link import IPV6_MINIMUM_MTU
from nodespan.runtime.overview.check import Surroundings, Verdict, failed, ok, skipped, warning

# What WireGuard adds to a packet that goes over IPv6.
_WIREGUARD_OVERHEAD = 80
_LOOPBACK_TYPE, _ETHER_TYPE = "772", "1"
_MANAGERS = {
    "systemd-networkd": "run/systemd/netif/state",
    "NetworkManager": "run/NetworkManager/NetworkManager.pid",
    "connman": "run/connman",
    "dhcpcd": "run/dhcpcd/pid",
}
# The hooks of the packet filter by which packets come in.
_INCOMING = ("input", "prerouting", "ingress")


def _links(surroundings: Surroundings) -> dict[str, dict[str, str]]:
    """The links of this network namespace, by name: the settings in sysfs."""
    directory = os.fsencode(surroundings.root / "sys/class/net")
    found: dict[str, dict[str, str]] = {}
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return {}
    for name in names:
        values = {}
        for setting in ("mtu", "type", "ifindex", "operstate"):
            try:
                with open(os.path.join(directory, name, setting.encode())) as file:
                    values[setting] = file.read().strip()
            except OSError:
                values[setting] = ""
        found[c_text(name)] = values
    return found


def _configured(surroundings: Surroundings) -> set[str]:
    """The links that the agent's configuration names."""
    specs = surroundings.specs("linkspecs.net.talos.dev")
    return {spec["name"] for spec in specs if spec.get("layer") in ("cmdline", "configuration")}


def managers(surroundings: Surroundings) -> Iterator[Verdict]:
    """Other managers of the network, and the links that both manage."""
    active = [name for name, file in _MANAGERS.items() if (surroundings.root / file).exists()]
    beside = f"{' and '.join(active)} run{'' if len(active) > 1 else 's'} here too" if active else "none runs here"
    if surroundings.agent is None:
        yield skipped(f"{beside}; which links are configured is known to the agent only")
        return
    names = _configured(surroundings)
    links = {name: int(link["ifindex"] or 0) for name, link in _links(surroundings).items() if name in names}
    held = find_holders(links, surroundings.root) if links else {}
    for name, holders in held.items():
        for holder in holders:
            text = f"{holder.manager} manages {name} too ({holder.evidence}), and each undoes what the other does"
            yield warning(text, holder.remedy)
    if not held:
        yield ok(f"{beside}, and manages none of the configured links" if active else beside)


def _udp_in_use(port: int) -> str:
    """Why a UDP port cannot be bound, "" if it can."""
    family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind(("", port))
    except OSError as error:
        return "in use" if error.errno == errno.EADDRINUSE else (error.strerror or str(error))
    return ""


def _mesh_port(surroundings: Surroundings) -> int:
    configs = surroundings.resources("kubespanconfigs.kubespan.talos.dev")
    return next((int(config["spec"].get("listenPort") or KUBESPAN_PORT) for config in configs), KUBESPAN_PORT)


def ports(surroundings: Surroundings, in_use: Callable[[int], str] = _udp_in_use) -> Iterator[Verdict]:
    """The port of the mesh: the device's, or free."""
    devices = {
        resource["metadata"]["id"]: resource["spec"]["wireguard"]["listenPort"]
        for resource in surroundings.resources("linkstatuses.net.talos.dev")
        if resource["spec"].get("wireguard")
    }
    wanted = _mesh_port(surroundings)
    if LINK_NAME in devices:
        port = devices[LINK_NAME]
        if port == wanted:
            yield ok(f"{LINK_NAME} listens at UDP {port}: let it in, where there is a firewall")
        else:
            text = f"{LINK_NAME} listens at UDP {port} and not at {wanted}, which it announces to the others"
            yield warning(text, f"look what has the port: ss -ulpn sport = :{wanted}")
        return
    others = [name for name, port in devices.items() if port == wanted]
    if others:
        text = f"UDP {wanted} is the port of {others[0]}, so a mesh cannot have it"
        yield warning(text, f"give {others[0]} another listenPort, if this node is to take part in a mesh")
        return
    reason = in_use(wanted)
    if not reason:
        yield ok(f"UDP {wanted} is free")
    else:
        yield failed(f"UDP {wanted}, the port of the mesh: {reason}", f"see: ss -ulpn sport = :{wanted}")


def mtu(surroundings: Surroundings) -> Iterator[Verdict]:
    """Whether packets of the tunnel fit into those of the links."""
    links = _links(surroundings)
    sizes = {name: int(link["mtu"]) for name, link in links.items() if link["mtu"].isdecimal()}
    small = [
        name for name, link in links.items() if link["type"] == _ETHER_TYPE and sizes.get(name, 9000) < IPV6_MINIMUM_MTU
    ]
    for name in small:
        text = f"{name} has an MTU of {sizes[name]}: there is no IPv6 on it"
        yield warning(text, f"give {name} an MTU of at least {IPV6_MINIMUM_MTU}")
    tunnel = sizes.get(LINK_NAME)
    carriers = {
        name: size
        for name, size in sizes.items()
        if links[name]["type"] == _ETHER_TYPE and links[name]["operstate"] == "up" and name not in small
    }
    tight = [name for name, size in carriers.items() if tunnel is not None and size < tunnel + _WIREGUARD_OVERHEAD]
    for name in tight:
        text = (
            f"packets of {LINK_NAME} (MTU {tunnel}) do not fit into {name} (MTU {sizes[name]}): large ones may be lost"
        )
        yield warning(text, f"set the mesh's mtu to {sizes[name] - _WIREGUARD_OVERHEAD} on all nodes")
    if not small and not tight:
        which = ", ".join(f"{name} {sizes[name]}" for name in sorted(sizes) if links[name]["type"] != _LOOPBACK_TYPE)
        yield ok(which or "no links but lo")


def firewall(surroundings: Surroundings) -> Iterator[Verdict]:
    """Chains of others that drop what comes in, unless they let it in."""
    if surroundings.find_program("nft") is None:
        yield skipped("nft is not installed, so the rules of others cannot be read")
        return
    text = surroundings.run_program(("nft", "-j", "list", "chains"))
    if text is None:
        yield skipped("the rules of others are shown to root only", "run nodespan doctor as root")
        return
    port = _mesh_port(surroundings)
    dropping = dropping_chains(json.loads(text))
    for chain in dropping:
        table = chain.rpartition(" ")[0]
        remedy = f"look that it lets UDP {port} in: nft list table {table}; with ufw: ufw allow {port}/udp"
        yield warning(f"the chain {chain} drops what it does not let in", remedy)
    if not dropping:
        yield ok("no chain of another program drops by default what comes in")


def dropping_chains(document: Any) -> list[str]:
    """The base chains of others for incoming packets whose policy is to drop: `family table chain`."""
    found = []
    for item in document.get("nftables", ()):
        chain = item.get("chain")
        if not chain or chain.get("hook") not in _INCOMING or chain.get("policy") != "drop":
            continue
        if not str(chain["table"]).startswith("nodespan"):
            found.append(f"{chain['family']} {chain['table']} {chain['name']}")
    return found


__all__ = [
    "firewall",
    "managers",
    "mtu",
    "ports",
]
