"""Link statuses of a whole kernel and of real network cards, against what `ip`, `ethtool`, `udevadm` and `wg` print.

A status is compared as users see it and as a whole: every field of it has to be confirmed by one of these tools.
"""

import base64
import contextlib
import json
import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Any, TypeVar

import pytest
import trio

from nodespan.controllers.network.status.address_status import AddressStatusController
from nodespan.controllers.network.status.link_status import LinkStatusController
from nodespan.controllers.network.status.route_status import RouteStatusController
from nodespan.resources.network import AddressStatus, LinkStatus, RouteStatus
from nodespan.resources.network.enums import LinkFlags
from nodespan.runtime.codec.plain import resource_to_plain, spec_to_plain
from nodespan.runtime.codec.yamltext import dump
from nodespan.runtime.resource import ResourceType
from nodespan.runtime.testing.kit import Node, running
from tests.support.deadlines import PATIENCE
from tests.support.netns import Namespace, execute, namespace
from tests.support.process import eventually
from tests.vm.cards import MAC_PREFIX

Run = Callable[..., str]
Plain = dict[str, Any]
Value = TypeVar("Value")

UNKNOWN_SPEED = 4294967295
# Shown also when they are empty.
ALWAYS = {
    *("index", "type", "linkIndex", "flags", "hardwareAddr", "permanentAddr", "broadcastAddr", "mtu", "queueDisc"),
    *("operationalState", "kind", "slaveKind", "linkState", "port", "duplex"),
}

# What `ip` calls otherwise.
STATES = {"LOWERLAYERDOWN": "lowerLayerDown", "NOTPRESENT": "notPresent"}
TYPES = {"none": "nohdr"}
FLAGS = {"POINTOPOINT": "POINTTOPOINT"}
BOND_OPTIONS = {
    "mode": "mode",
    "xmitHashPolicy": "xmit_hash_policy",
    "lacpRate": "ad_lacp_rate",
    "arpValidate": "arp_validate",
    "arpAllTargets": "arp_all_targets",
    "primaryReselect": "primary_reselect",
    "failOverMac": "fail_over_mac",
    "adSelect": "ad_select",
    "miimon": "miimon",
    "updelay": "updelay",
    "downdelay": "downdelay",
    "arpInterval": "arp_interval",
    "resendIgmp": "resend_igmp",
    "minLinks": "min_links",
    "lpInterval": "lp_interval",
    "packetsPerSlave": "packets_per_slave",
    "numPeerNotif": "num_peer_notif",
    "tlbLogicalLb": "tlb_dynamic_lb",
    "allSlavesActive": "all_slaves_active",
    "useCarrier": "use_carrier",
    "adActorSysPrio": "ad_actor_sys_prio",
    "adUserPortKey": "ad_user_port_key",
    "peerNotifyDelay": "peer_notify_delay",
    "arpIpTargets": "arp_ip_target",
    "nsIp6Targets": "ns_ip6_target",
    "adLacpActive": "ad_lacp_active",
    "missedMax": "arp_missed_max",
    "primary": "primary",
}
# Their empty values are left out, like 0.
BOND_DEFAULTS = {"adSelect": "stable", "adLacpActive": "off"}
PORTS = {"Twisted Pair": "TwistedPair"}


# What the tools report.


def reported_links(run: Run, *names: str) -> dict[str, Plain]:
    """What `ip`, `ethtool` and `wg` report of the links of a namespace that have these names; without, of all."""
    links = [link for link in json.loads(run("ip", "-json", "-details", "link")) if link]
    index_of = {link["ifname"]: link["ifindex"] for link in links}
    links = [link for link in links if not names or link["ifname"] in names]
    # At once, for each start of a program takes its time on an emulated machine.
    asked = " ".join(link["ifname"] for link in links)
    ask = f"for link in {asked}; do echo ==; ethtool -i $link; ethtool $link; ethtool -P $link; done 2>&1"
    _, *drivers = run("sh", "-c", f"{ask}; true").split("==\n")
    return {
        link["ifname"]: reported_link(run, link, index_of, lines_of(driver))
        for link, driver in zip(links, drivers, strict=True)
    }


def reported_link(run: Run, link: Plain, index_of: Mapping[str, int], driver: Mapping[str, str]) -> Plain:
    info = link.get("linkinfo", {})
    kind = info.get("info_kind", "")
    carrier = {"UP", "LOWER_UP"} <= set(link["flags"])
    reported = {
        "alias": link.get("ifalias", ""),
        "altNames": link.get("altnames", []),
        "index": link["ifindex"],
        "type": TYPES.get(link["link_type"], link["link_type"]),
        "linkIndex": index_of.get(link.get("link", ""), link.get("link_index", 0)),
        "flags": reported_flags(link["flags"]),
        "hardwareAddr": link.get("address", ""),
        "broadcastAddr": link.get("broadcast", ""),
        "mtu": link["mtu"],
        "queueDisc": link["qdisc"],
        "masterIndex": index_of.get(link.get("master", ""), 0),
        "operationalState": STATES.get(link["operstate"], link["operstate"].lower()),
        "kind": kind,
        "slaveKind": info.get("info_slave_kind", ""),
        **reported_by_driver(
            driver, carrier=carrier, lent_instead_of=info.get("info_slave_data", {}).get("perm_hwaddr", "")
        ),
        **reported_of_kind(run, link, kind, info.get("info_data", {}), index_of),
    }
    return {key: value for key, value in reported.items() if value or key in ALWAYS}


def reported_flags(words: Iterable[str]) -> str:
    flags = {FLAGS.get(word, word) for word in words}
    # `ip` shows RUNNING by its absence.
    if "UP" in flags and "NO-CARRIER" not in flags:
        flags.add("RUNNING")
    return ",".join(flag.name or "" for flag in LinkFlags if flag.name in flags)


def reported_of_kind(run: Run, link: Plain, kind: str, data: Plain, index_of: Mapping[str, int]) -> Plain:
    match kind:
        case "bond":
            return {"bondMaster": reported_bond(data, index_of)}
        case "bridge":
            filtering = bool(data["vlan_filtering"])
            return {
                "bridgeMaster": {"stp": {"enabled": bool(data["stp_state"])}, "vlan": {"filteringEnabled": filtering}}
            }
        case "veth":
            return {"veth": {"peerName": link.get("link", "")}}
        case "vlan":
            return {"vlan": {"vlanID": data["id"], "vlanProtocol": data["protocol"].lower()}}
        case "vrf":
            return {"vrfMaster": {"table": str(data["table"])}}
        case "macvlan":
            return {"macvlan": {"mode": data["mode"]}}
        case "ipvlan":
            (flags,) = {"bridge", "private", "vepa"} & set(re.findall(r"\w+", json.dumps(data)))
            return {"ipvlan": {"mode": data["mode"], "flags": flags}}
        case "vxlan":
            return {"vxlan": reported_vxlan(data), "linkIndex": index_of[data["link"]]}
        case "wireguard":
            return {"wireguard": reported_wireguard(run, link["ifname"])}
        case _:
            return {}


def reported_vxlan(data: Plain) -> Plain:
    reported = {
        "id": data["id"],
        "local": data.get("local", data.get("local6")),
        "group": data.get("group", data.get("group6")),
        "port": data["port"],
        "learning": data["learning"],
    }
    return {key: value for key, value in reported.items() if value}


def reported_bond(data: Plain, index_of: Mapping[str, int]) -> Plain:
    reported = {outside: data[option] for outside, option in BOND_OPTIONS.items() if option in data}
    reported["arpValidate"] = (reported["arpValidate"] or "none").replace("_", "-")
    reported["useCarrier"] = bool(reported["useCarrier"])
    reported["primaryIndex"] = index_of.get(data.get("primary", ""), 0)
    return {key: value for key, value in reported.items() if value and value != BOND_DEFAULTS.get(key)}


def reported_wireguard(run: Run, name: str) -> Plain:
    (_, public_key, port, mark), *peers = (line.split("\t") for line in run("wg", "show", name, "dump").splitlines())
    reported: Plain = {
        "listenPort": int(port),
        "firewallMark": 0 if mark == "off" else int(mark, 0),
        "peers": [
            {
                "publicKey": key,
                "endpoint": "" if endpoint == "(none)" else endpoint,
                "persistentKeepaliveInterval": "0s" if keepalive == "off" else f"{keepalive}s",
                "allowedIPs": [] if allowed == "(none)" else sorted(allowed.split(","), key=by_address),
            }
            for key, _, endpoint, allowed, _, _, _, keepalive in sorted(peers)
        ],
    }
    return reported if public_key == "(none)" else {"publicKey": public_key, **reported}


def by_address(prefix: str) -> tuple[int, Any]:
    network = ip_network(prefix)
    return network.version, network


def reported_by_driver(driver: Mapping[str, str], *, carrier: bool, lent_instead_of: str) -> Plain:
    permanent = driver["Permanent address"]
    speed = driver.get("Speed", "0Mb/s")
    port = driver.get("Port", "Other")
    return {
        "permanentAddr": lent_instead_of if permanent == "not set" else permanent,
        "busPath": driver.get("bus-info", "").replace("N/A", ""),
        "driver": driver.get("driver", ""),
        "driverVersion": driver.get("version", "").replace("N/A", ""),
        "firmwareVersion": driver.get("firmware-version", "").replace("N/A", ""),
        "linkState": driver["Link detected"] == "yes" if "Link detected" in driver else carrier,
        "speedMbit": UNKNOWN_SPEED if speed.startswith("Unknown") else int(speed.removesuffix("Mb/s")),
        "port": PORTS.get(port, port),
        "duplex": driver.get("Duplex", "Unknown").partition("!")[0],
    }


def lines_of(text: str) -> dict[str, str]:
    """`key: value` per line."""
    return {match[1]: match[2].strip() for match in re.finditer(r"^\s*([^:\n]+):(.*)$", text, re.MULTILINE)}


def reported_by_bus(name: str) -> Plain:
    """What udev knows of the card behind a link; nothing of links without one."""
    path = Path(f"/sys/class/net/{name}")
    if not (path / "device").exists():
        return {}
    link, device = (
        dict(
            line.partition("=")[::2] for line in execute("udevadm", "info", "-q", "property", "-p", place).splitlines()
        )
        for place in (str(path), str((path / "device").resolve()))
    )
    reported = {
        "busPath": link["ID_PATH"].removeprefix("pci-"),
        "driver": link["ID_NET_DRIVER"],
        "pciID": device.get("PCI_ID", ""),
        "vendorID": link["ID_VENDOR_ID"],
        "productID": link["ID_MODEL_ID"],
        "vendor": link["ID_VENDOR_FROM_DATABASE"],
        "product": link["ID_MODEL_FROM_DATABASE"],
    }
    return {key: value for key, value in reported.items() if value}


# What the controllers show.


@contextlib.asynccontextmanager
async def observed(netns: str | None) -> AsyncIterator[Node]:
    """What the controllers show of a namespace, from its first complete state on."""
    async with running(
        LinkStatusController(netns=netns), AddressStatusController(netns=netns), RouteStatusController(netns=netns)
    ) as node:
        await node.eventually(LinkStatus, "lo")
        yield node


def shown_links(node: Node) -> dict[str, Plain]:
    return {link.id: spec_to_plain(link.spec) for link in node.state.view(LinkStatus).list()}


async def agree(shown: Callable[[], Value], reported: Callable[[], Value]) -> Value:
    """Wait until the statuses agree with the tools, and return them."""
    deadline = trio.current_time() + PATIENCE
    while True:
        wanted = await trio.to_thread.run_sync(reported)
        if shown() == wanted:
            return wanted
        if trio.current_time() > deadline:
            assert shown() == wanted


async def agree_on_links(node: Node, inside: Namespace) -> dict[str, Plain]:
    return await agree(lambda: shown_links(node), lambda: reported_links(inside.run))


async def become(node: Node, expected: Mapping[str, Any]) -> None:
    """Wait for fields of links to have these values: `bond0/bondMaster/mode`."""

    def check() -> bool:
        links = shown_links(node)
        assert {path: at(links, path) for path in expected} == expected
        return True

    await eventually(check, within=PATIENCE)


def at(links: Mapping[str, Plain], path: str) -> Any:
    found: Any = links
    for key in path.split("/"):
        found = found.get(key, {})
    return found


def change(inside: Namespace, *commands: str) -> None:
    inside.run("ip", "-batch", "-", stdin="".join(f"{command}\n" for command in commands))


# Links made by software.

# Few scenes with much in each: what takes its time is to ask the tools.
SCENES: dict[str, tuple[tuple[str, ...], Mapping[str, Any]]] = {
    "bonds": (
        (
            *(f"link add d{number} type dummy" for number in range(4)),
            (
                "link add backup type bond mode active-backup miimon 100 updelay 200 downdelay 300"
                " peer_notify_delay 400 num_grat_arp 3 primary_reselect better resend_igmp 4"
            ),
            "link set d0 master backup",
            "link set d1 master backup",
            "link set backup up type bond primary d1",
            (
                "link add lacp type bond mode 802.3ad miimon 100 lacp_rate fast xmit_hash_policy layer3+4"
                " ad_select count ad_actor_sys_prio 1000 ad_user_port_key 7 min_links 1 all_slaves_active 1"
            ),
            "link set d2 master lacp",
            "link set d3 master lacp",
            "link set d2 nomaster",
            "link set lacp up",
            "link add silent type bond mode 802.3ad lacp_active off ad_select bandwidth xmit_hash_policy encap2+3",
            "link add tlb type bond mode balance-tlb tlb_dynamic_lb 0 lp_interval 5 xmit_hash_policy vlan+srcmac",
            "link add robin type bond mode balance-rr packets_per_slave 3 use_carrier 0",
            (
                "link add watcher type bond mode active-backup arp_interval 200 arp_validate filter_active"
                " arp_all_targets all arp_ip_target 192.0.2.1,192.0.2.2 ns_ip6_target 2001:db8::1 arp_missed_max 5"
                " fail_over_mac follow primary_reselect failure"
            ),
            "link add link backup name backup.7 up type vlan id 7",
        ),
        {
            "backup/kind": "bond",
            "backup/bondMaster/mode": "active-backup",
            "backup/bondMaster/miimon": 100,
            "backup/bondMaster/updelay": 200,
            "backup/bondMaster/primary": "d1",
            "backup/bondMaster/primaryReselect": "better",
            "backup/operationalState": "up",
            "backup/driver": "bonding",
            "d0/kind": "dummy",
            "d0/slaveKind": "bond",
            "d1/slaveKind": "bond",
            "lacp/bondMaster/mode": "802.3ad",
            "lacp/bondMaster/lacpRate": "fast",
            "lacp/bondMaster/xmitHashPolicy": "layer3+4",
            "lacp/bondMaster/adSelect": "count",
            "lacp/bondMaster/adActorSysPrio": 1000,
            "lacp/bondMaster/adLacpActive": "on",
            "d2/slaveKind": "",
            "d3/slaveKind": "bond",
            "silent/bondMaster/adSelect": "bandwidth",
            "silent/bondMaster/xmitHashPolicy": "encap2+3",
            "tlb/bondMaster/xmitHashPolicy": "vlan+srcmac",
            "tlb/bondMaster/lpInterval": 5,
            "robin/bondMaster/packetsPerSlave": 3,
            "watcher/bondMaster/arpIpTargets": ["192.0.2.1", "192.0.2.2"],
            "watcher/bondMaster/nsIp6Targets": ["2001:db8::1"],
            "watcher/bondMaster/arpValidate": "filter-active",
            "watcher/bondMaster/arpAllTargets": "all",
            "watcher/bondMaster/failOverMac": "follow",
            "watcher/bondMaster/missedMax": 5,
            "backup.7/operationalState": "up",
        },
    ),
    "VLANs, bridges and a VRF": (
        (
            "link add d0 up type dummy",
            "link add link d0 name d0.100 up type vlan id 100",
            "link add link d0 name service up type vlan id 4094 protocol 802.1ad",
            "link add link service name inner type vlan id 1",
            "link add br0 type bridge stp_state 1 vlan_filtering 1",
            "link set br0 up",
            "link set d0.100 master br0",
            "link add br1 type bridge",
            "link add br2 up type bridge",
            "link set br2 type bridge vlan_filtering 1",
            "link add v0 up type veth peer name v1",
            "link set v1 up",
            "link set v0 master br2",
            "link add red up type vrf table 1000",
            "link add d1 up type dummy",
            "link set d1 master red",
        ),
        {
            "d0.100/vlan": {"vlanID": 100, "vlanProtocol": "802.1q"},
            "service/vlan": {"vlanID": 4094, "vlanProtocol": "802.1ad"},
            "inner/vlan": {"vlanID": 1, "vlanProtocol": "802.1q"},
            "br0/bridgeMaster": {"stp": {"enabled": True}, "vlan": {"filteringEnabled": True}},
            "br1/bridgeMaster": {"stp": {"enabled": False}, "vlan": {"filteringEnabled": False}},
            "br2/bridgeMaster": {"stp": {"enabled": False}, "vlan": {"filteringEnabled": True}},
            "br2/speedMbit": 10000,
            "d0.100/slaveKind": "bridge",
            "red/kind": "vrf",
            "red/vrfMaster": {"table": "1000"},
            "d1/slaveKind": "vrf",
        },
    ),
    "other names, other carriers": (
        (
            "link add d0 type dummy",
            "link set d0 up mtu 9000 address 02:00:00:00:00:07",
            "link property add dev d0 altname other altname a-name-of-more-than-fifteen-characters",
            "link set d0 alias uplink",
            "link add v0 type veth peer name v1",
            "link set v0 up",
            "link set v1 up",
            "link add link v0 name m0 up type macvlan mode private",
            "link add link v1 name i0 up type ipvlan mode l3 vepa",
            "link add x0 type vxlan id 7 dev v0 local 192.0.2.1 dstport 4789 nolearning",
            "link add x1 type vxlan id 8 dev v1 group ff05::100 dstport 8472",
            "link add w0 type veth peer name w1",
            "link set w0 up",
            "link set w1 up",
            "link add link w0 name w0.1 up type vlan id 1",
            "link add d1 up type dummy",
            "link set w1 down",
            "link set d1 carrier off",
        ),
        {
            "d0/alias": "uplink",
            "d0/altNames": ["other", "a-name-of-more-than-fifteen-characters"],
            "d0/hardwareAddr": "02:00:00:00:00:07",
            "d0/mtu": 9000,
            "v0/veth": {"peerName": "v1"},
            "v0/speedMbit": 10000,
            "m0/macvlan": {"mode": "private"},
            "i0/ipvlan": {"mode": "l3", "flags": "vepa"},
            "x0/vxlan": {"id": 7, "local": "192.0.2.1", "port": 4789},
            "x1/vxlan": {"id": 8, "group": "ff05::100", "port": 8472, "learning": True},
            "m0/linkState": True,
            "w0/operationalState": "lowerLayerDown",
            "w0/linkState": False,
            "w0.1/linkState": False,
            "d1/operationalState": "down",
            "d1/linkState": False,
        },
    ),
}


@pytest.mark.parametrize(("steps", "expected"), SCENES.values(), ids=SCENES.keys())
async def test_link_statuses_match_the_tools(steps: tuple[str, ...], expected: Mapping[str, Any]) -> None:
    with namespace() as inside:
        async with observed(str(inside.path)) as node:
            change(inside, *steps)
            await become(node, expected)
            followed = await agree_on_links(node, inside)
        async with observed(str(inside.path)) as node:
            await agree(lambda: shown_links(node), lambda: followed)


# WireGuard of the kernel.


def key(number: int) -> str:
    return base64.b64encode(number.to_bytes(32, "big")).decode()


PRIVATE_KEY, PRESHARED_KEY = key(2**255 - 8), key(0x5EC2E7)
WIREGUARD = f"""[Interface]
PrivateKey = {PRIVATE_KEY}
ListenPort = 51820
FwMark = 0x51820

[Peer]
PublicKey = {key(7)}
PresharedKey = {PRESHARED_KEY}
Endpoint = 192.0.2.7:51821
PersistentKeepalive = 25
AllowedIPs = 10.0.0.0/8, 10.1.2.3/32, fd00::/8

[Peer]
PublicKey = {key(8)}
Endpoint = [2001:db8::8]:51822
AllowedIPs = 0.0.0.0/0, ::/0

[Peer]
PublicKey = {key(9)}
"""


@pytest.mark.hardware
async def test_a_wireguard_status_matches_wg_without_its_secrets() -> None:
    with namespace() as inside:
        async with observed(str(inside.path)) as node:
            change(inside, "link add wg0 type wireguard")
            links = await agree_on_links(node, inside)
            assert links["wg0"]["wireguard"] == {"listenPort": 0, "firewallMark": 0, "peers": []}
            inside.run("wg", "setconf", "wg0", "/dev/stdin", stdin=WIREGUARD)
            # WireGuard announces nothing by itself.
            change(inside, "link set wg0 up")
            links = await agree_on_links(node, inside)
            device = links["wg0"]["wireguard"]
            assert device["publicKey"] == inside.run("wg", "pubkey", stdin=PRIVATE_KEY).strip()
            assert (device["listenPort"], device["firewallMark"]) == (51820, 0x51820)
            assert device["peers"][0] == {
                "publicKey": key(7),
                "endpoint": "192.0.2.7:51821",
                "persistentKeepaliveInterval": "25s",
                "allowedIPs": ["10.0.0.0/8", "10.1.2.3/32", "fd00::/8"],
            }
            assert links["wg0"]["type"] == "nohdr"
            resource = node.state.get(LinkStatus, "wg0")
            for text in (dump(resource_to_plain(resource)), repr(resource)):
                assert PRIVATE_KEY not in text
                assert PRESHARED_KEY not in text
                assert "preshared" not in text.lower()


@pytest.mark.hardware
@pytest.mark.soak
async def test_a_wireguard_device_with_peers_in_many_messages_is_shown_completely() -> None:
    prefixes = [f"10.{number // 256}.{number % 256}.0/24" for number in range(3000)]
    peers = [f"[Peer]\nPublicKey = {key(number)}\nAllowedIPs = fd00::{number:x}/128\n" for number in range(300, 600)]
    device = f"[Interface]\nPrivateKey = {PRIVATE_KEY}\n[Peer]\nPublicKey = {key(299)}\n"
    with namespace() as inside:
        change(inside, "link add wg0 type wireguard")
        inside.run(
            "wg", "setconf", "wg0", "/dev/stdin", stdin=f"{device}AllowedIPs = {', '.join(prefixes)}\n{''.join(peers)}"
        )
        async with observed(str(inside.path)) as node:
            links = await agree_on_links(node, inside)
        allowed = {peer["publicKey"]: peer["allowedIPs"] for peer in links["wg0"]["wireguard"]["peers"]}
        assert sorted(allowed[key(299)]) == sorted(prefixes)
        assert len(allowed) == 1 + len(peers)


# Addresses and routes in the tables of VRFs.


def reported_addresses(inside: Namespace) -> set[str]:
    links = json.loads(inside.run("ip", "-json", "address"))
    return {
        f"{link['ifname']}/{address['local']}/{address['prefixlen']}" for link in links for address in link["addr_info"]
    }


def reported_routes(inside: Namespace) -> set[str]:
    reported = set()
    for family, option, length in (("inet4", "-4", 32), ("inet6", "-6", 128)):
        for route in json.loads(inside.run("ip", "-json", option, "route", "show", "table", "all") or "[]"):
            dst = "" if route["dst"] == "default" else route["dst"]
            dst = f"{dst}/{length}" if dst and "/" not in dst else dst
            table, link = route.get("table", "main"), route["dev"] if family == "inet6" and "dev" in route else ""
            parts = (family, route.get("gateway", ""), dst, str(route.get("metric", 0)))
            reported.add("/".join((*([table] if table != "main" else []), *([link] if link else []), *parts)))
    return reported


def ids(node: Node, type: ResourceType[Any]) -> set[str]:
    return {resource.id for resource in node.state.view(type).list()}


async def test_addresses_and_routes_follow_a_link_into_a_vrf_and_out_again() -> None:
    with namespace() as inside:

        async def routes() -> set[str]:
            await agree(lambda: ids(node, AddressStatus), lambda: reported_addresses(inside))
            return await agree(lambda: ids(node, RouteStatus), lambda: reported_routes(inside))

        async with observed(str(inside.path)) as node:
            change(
                inside,
                "link add red up type vrf table 1000",
                "link add d0 up type dummy",
                "addr add 192.0.2.1/24 dev d0",
                "addr add 2001:db8::1/64 nodad dev d0",
            )
            assert {"inet4//192.0.2.0/24/0", "local/inet4//192.0.2.1/32/0"} <= await routes()
            change(inside, "link set d0 master red")
            assert {"1000/inet4//192.0.2.0/24/0", "1000/inet4//192.0.2.1/32/0"} <= await routes()
            change(
                inside,
                "addr replace 2001:db8::1/64 nodad dev d0",
                "route add default via 192.0.2.9 vrf red",
                "route add unreachable 198.51.100.0/24 metric 77 table 1000",
                "route add 2001:db8:1::/64 via 2001:db8::9 table 1000",
            )
            assert {
                "1000/inet4/192.0.2.9//0",
                "1000/inet4//198.51.100.0/24/77",
                "1000/d0/inet6/2001:db8::9/2001:db8:1::/64/1024",
                "1000/d0/inet6//2001:db8::/64/256",
            } <= await routes()
            default = node.state.get(RouteStatus, "1000/inet4/192.0.2.9//0").spec
            assert (default.table.value, default.out_link_name, default.type.value) == ("1000", "d0", "unicast")
            assert node.state.get(AddressStatus, "d0/192.0.2.1/24").spec.link_name == "d0"
            change(inside, "link set d0 nomaster")
            left = await routes()
            assert "inet4//192.0.2.0/24/0" in left
            assert "1000/inet4//192.0.2.0/24/0" not in left


# Network cards.


def card_names() -> tuple[str, ...]:
    """The first of the guest's cards, a virtio one, one more, one by Intel; udev has given them their names."""
    name_of = {path.read_text().strip(): path.parent.name for path in Path("/sys/class/net").glob("*/address")}
    return tuple(name_of[f"{MAC_PREFIX}{number:02x}"] for number in range(3))


@contextlib.contextmanager
def cards() -> Iterator[tuple[str, ...]]:
    """The cards, all up, and down again at the end."""
    names = card_names()
    for name in names:
        execute("ip", "link", "set", name, "up")
    try:
        yield names
    finally:
        for name in names:
            execute("ip", "link", "set", name, "down")


async def agree_on_cards(node: Node, names: Iterable[str]) -> dict[str, Plain]:
    def shown() -> dict[str, Plain]:
        return {name: link for name, link in shown_links(node).items() if name in names}

    def reported() -> dict[str, Plain]:
        links = reported_links(execute, *names)
        return {name: links[name] | reported_by_bus(name) for name in names}

    return await agree(shown, reported)


@pytest.mark.hardware
async def test_network_card_statuses_match_the_tools() -> None:
    async with observed(None) as node:
        await become(node, {f"{name}/linkState": False for name in card_names()})
        with cards() as names:
            await become(node, {f"{name}/linkState": True for name in names})
            links = await agree_on_cards(node, names)
    virtio, _, intel = (links[name] for name in names)
    assert {key: virtio.get(key) for key in ("driver", "busPath", "pciID", "vendorID", "productID", "kind")} == {
        "driver": "virtio_net",
        "busPath": "0000:00:10.0",
        "pciID": None,
        "vendorID": "0x1af4",
        "productID": "0x1000",
        "kind": "",
    }
    assert (virtio["speedMbit"], virtio["duplex"], virtio["port"]) == (UNKNOWN_SPEED, "Unknown", "Other")
    assert {key: intel.get(key) for key in ("driver", "busPath", "pciID", "vendorID", "productID", "vendor")} == {
        "driver": "e1000e",
        "busPath": "0000:00:14.0",
        "pciID": "8086:10D3",
        "vendorID": "0x8086",
        "productID": "0x10d3",
        "vendor": "Intel Corporation",
    }
    assert (intel["speedMbit"], intel["duplex"], intel["port"]) == (1000, "Full", "TwistedPair")
    assert intel["permanentAddr"] == f"{MAC_PREFIX}02"


@pytest.mark.hardware
@pytest.mark.soak
async def test_a_speed_change_without_a_carrier_change_is_observed() -> None:
    _, second, _ = card_names()
    async with observed(None) as node:
        with cards():
            await become(node, {f"{second}/linkState": True})
            for speed, duplex in ((100, "Half"), (1000, "Full")):
                execute("ethtool", "-s", second, "speed", str(speed), "duplex", duplex.lower())
                await become(node, {f"{second}/speedMbit": speed, f"{second}/duplex": duplex})


@pytest.mark.hardware
@pytest.mark.soak
async def test_bond_members_keep_their_permanent_addresses_and_the_bond_shows_their_speed() -> None:
    _, second, third = card_names()
    async with observed(None) as node:
        execute("ip", "link", "add", "bondcards", "type", "bond", "mode", "active-backup", "miimon", "100")
        try:
            for name in (third, second):
                execute("ip", "link", "set", name, "master", "bondcards")
            execute("ip", "link", "set", "bondcards", "up", "type", "bond", "primary", third)
            await become(node, {"bondcards/speedMbit": 1000, f"{second}/linkState": True})
            links = await agree_on_cards(node, (second, third, "bondcards"))
            assert links[second]["hardwareAddr"] == links[third]["hardwareAddr"] == links["bondcards"]["hardwareAddr"]
            assert [links[name]["permanentAddr"] for name in (second, third)] == [f"{MAC_PREFIX}01", f"{MAC_PREFIX}02"]
            assert links["bondcards"]["permanentAddr"] == ""
        finally:
            execute("ip", "link", "delete", "bondcards")
            for name in (second, third):
                execute("ip", "link", "set", name, "down")
