"""The acceptance: one machine configuration of Talos, with everything in it, makes a machine the network it describes.

A real agent in a namespace with a copy of the guest's files around it. A second namespace is what the machine is
connected to: a router, the other ends of its tunnels, a DHCP server. The cards are the guest's and the tunnels its
kernel's, or, where the guest has neither, the cards are ends of cables and the tunnels processes.
"""

import contextlib
import functools
import json
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.support.agent import AgentProcess, agent
from tests.support.copied_machine import copy
from tests.support.deadlines import PATIENCE
from tests.support.dhcp_server import dnsmasq
from tests.support.etcd import Place, etcd_cluster
from tests.support.inside import Inside
from tests.support.ip_state import IpState, differences
from tests.support.netns import Namespace, namespace, namespaces
from tests.support.process import eventually, running
from tests.support.tunnels import key_pair, show
from tests.vm.cards import MAC_PREFIX
from tests.vm.configured import real_cards, without_a_first_vrf

pytestmark = [
    pytest.mark.needs_program("dnsmasq", "etcd", "wg", "ping", "unshare", "nsenter"),
]

CONFIG = (Path(__file__).parent / "data" / "controlplane.yaml").read_text()
# What no configuration of Talos says, for there etcd is a part of the node.
SETTINGS = """\
apiVersion: nodespan.dev/v1alpha1
kind: NodespanConfig
etcd: {{endpoints: ["http://127.0.0.1:2379"]}}
vip: {{leaseTTL: {ttl}}}
"""
EMPTY = "version: v1alpha1\nmachine: {type: controlplane}\n"
# Where the guest gets little time, an address goes later than anybody waits for, or a step of a task takes long.
OF_LITTLE_TIME = ("its lease is left to expire", "a controller does not await and blocks all others")
# Which is no step of these: the longest seen took 2.1 s. That error comes a few seconds after a step began and says
# nothing of its length; what does is the warnings at its end.
TOO_LONG_MS = 10_000

CARDS = {
    "enp0s16": f"{MAC_PREFIX}00",
    "enp0s17f0": f"{MAC_PREFIX}01",
    "enp0s20": f"{MAC_PREFIX}02",
    "enp0s17f1": f"{MAC_PREFIX}03",
    "enp1s0": f"{MAC_PREFIX}04",
    "eno3": f"{MAC_PREFIX}05",
    "enp0s19": f"{MAC_PREFIX}06",
    "enx525400aa0008": "/usb",
}
IGNORED = "enx525400aa0008"
# Without a speed no card becomes an active member of a bond that speaks LACP, and these report none.
LACP_CARDS = ("eno3", "enp0s19")
FAR_CARDS = {"uplink": f"{MAC_PREFIX}07"}
# An end of a cable has no driver of a card, and no permanent address.
OF_CABLES = {
    "driver: e1000*": "driver: veth",
    f'permanentAddr: "{MAC_PREFIX}02"': f'hardwareAddr: "{MAC_PREFIX}02"',
    # Nor is it physical, as what the configuration gives an alias must be: it has the alias already.
    """\
apiVersion: v1alpha1
kind: LinkAliasConfig
name: net0
selector:
  match: link.driver == "virtio_net" && glob("52:54:00:aa:00:04", mac(link.permanent_addr))
---
""": "",
}
# All cards are on one segment; each is to answer for its own addresses only.
NEAR = "echo 1 >/proc/sys/net/ipv4/conf/all/arp_ignore"
FAR = """\
link set uplink up
addr add 192.168.88.1/24 dev uplink
addr add 10.60.0.1/24 dev uplink
addr add 10.61.0.1/24 dev uplink
link add link uplink name uplink.34 up type vlan id 34
link add link uplink name uplink.100 up type vlan id 100
addr add 192.168.34.1/24 dev uplink.34
addr add 192.168.100.1/24 dev uplink.100
"""
FAR_TUNNEL_ADDRESSES = """\
link set far0 up
link set far1 up
addr add 10.40.0.2/24 dev far0
addr add fd42::2/64 dev far1 nodad
"""
DHCP = (
    "--dhcp-range=10.60.0.50,10.60.0.60,255.255.255.0,10m",
    "--dhcp-range=10.61.0.50,10.61.0.60,255.255.255.0,10m",
    f"--dhcp-host={MAC_PREFIX}02,set:first,10.60.0.52,leased",
    f"--dhcp-host={MAC_PREFIX}04,set:second,10.61.0.54",
    "--dhcp-option=tag:first,option:router,10.60.0.1",
    "--dhcp-option=tag:first,option:mtu,1300",
    "--dhcp-option=tag:second,option:classless-static-route,10.62.0.0/16,10.61.0.1",
    "--dhcp-option=option:dns-server,10.60.0.53",
    "--dhcp-option=option:ntp-server,10.60.0.123",
)
# The keys are those of the configuration.
TUNNEL, FAR_TUNNEL, SECOND, FAR_SECOND, SHARED, SILENT = (key_pair(number) for number in range(11, 17))
FAR_TUNNELS = {
    "far0": f"""\
[Interface]
PrivateKey = {FAR_TUNNEL[0]}
ListenPort = 51820
[Peer]
PublicKey = {TUNNEL[1]}
AllowedIPs = 10.40.0.1/32
""",
    "far1": f"""\
[Interface]
PrivateKey = {FAR_SECOND[0]}
ListenPort = 51821
[Peer]
PublicKey = {SECOND[1]}
PresharedKey = {SHARED[0]}
AllowedIPs = fd42::1/128
""",
}
ETC = {
    # One that stays: for none at all the tool leaves the bundle as it was.
    "ca-certificates.conf": "mozilla/ISRG_Root_X1.crt\n",
    "hostname": "before\n",
    "hosts": "127.0.0.1 localhost\n",
    "issue": "theirs\n",
    "nsswitch.conf": "hosts: files\n",
    "passwd": "root:x:0:0:root:/root:/bin/sh\n",
    "resolv.conf": "nameserver 192.0.2.53\n",
    "ssl/certs/ca-certificates.crt": "",
}

ADDRESSES = {
    "bond0": {"192.168.88.21/24", "192.168.88.99/32", "fd88::21/64"},
    "bond0.100": {"192.168.100.21/24", "192.168.100.15/32"},
    "bond1": {"10.15.0.3/16"},
    "br0": {"10.30.0.1/24", "10.30.1.1/24"},
    "br1": {"192.0.2.1/30"},
    "dummy0": {"10.31.0.1/32"},
    "dummy1": {"10.32.0.1/24"},
    "enp0s20": {"10.60.0.52/24"},
    "enp1s0": {"10.61.0.54/24"},
    "net0.34": {"192.168.34.21/24", "192.168.34.15/32"},
    "veth-b": {"192.0.2.2/30"},
    "wg0": {"10.40.0.1/24"},
    "wg1": {"fd42::1/64"},
}
ROUTES = {
    "default via 192.168.88.1 dev bond0 proto static metric 2048",
    "default via 10.60.0.1 dev enp0s20 proto boot metric 4096",
    "10.8.0.0/16 dev bond0 proto static scope link src 192.168.88.21 metric 1024",
    "10.41.0.0/16 dev wg0 proto static scope link metric 1024",
    "10.50.0.0/16 via 10.15.0.1 dev bond1 proto static metric 1024",
    "10.62.0.0/16 via 10.61.0.1 dev enp1s0 proto boot metric 1024",
    "10.100.0.0/16 via 192.168.100.1 dev bond0.100 proto static metric 1024",
    "blackhole 10.255.0.0/16 proto static metric 1024",
    "default via 10.30.0.254 dev br0 table 100 proto static metric 1024",
    "fd89::/64 via fd88::1 dev bond0 proto static metric 1024 mtu 1400 pref medium",
    "blackhole fd99::/32 dev lo proto static metric 50 pref medium",
}
RULES = {
    ("-4", "1000:	from 10.30.0.0/24 lookup 100 proto static"),
    ("-4", "1001:	from all fwmark 0x40/0x60 prohibit proto static"),
    ("-6", "1001:	from all fwmark 0x40/0x60 prohibit proto static"),
}
# Some of what `ip` prints of links, and of their kind.
LINKS: dict[str, dict[str, object]] = {
    "bond0": {"mtu": 1450, "address": f"{MAC_PREFIX}00"},
    "bond1": {"mtu": 1500, "address": "02:00:5e:10:00:05"},
    "bond0.100": {"mtu": 1400, "link": "bond0"},
    "net0.34": {"link": "enp1s0"},
    "br0": {"mtu": 1400},
    "enp0s16": {"master": "bond0"},
    "enp0s17f0": {"master": "bond0"},
    "eno3": {"master": "bond1"},
    "enp0s19": {"master": "bond1"},
    "enp0s17f1": {"master": "br0"},
    "enp0s20": {"mtu": 1300},
    "enp1s0": {"ifalias": "net0"},
    "veth-a": {"master": "br1", "link": "veth-b"},
    "veth-b": {"mtu": 1400},
    "dummy1": {"address": "02:00:5e:10:00:01", "master": "vrf-blue"},
    "wg0": {"mtu": 1380},
}
DATA: dict[str, dict[str, object]] = {
    "bond0": {"mode": "active-backup", "miimon": 100, "updelay": 200, "downdelay": 200},
    "bond1": {"mode": "802.3ad", "miimon": 100, "ad_lacp_rate": "fast", "xmit_hash_policy": "layer3+4"},
    "bond0.100": {"protocol": "802.1Q", "id": 100},
    "net0.34": {"protocol": "802.1Q", "id": 34},
    "br0": {"stp_state": 0, "vlan_filtering": 0},
    "br1": {"stp_state": 0, "vlan_filtering": 1},
    "vrf-blue": {"table": 123},
}

# The certificates, as lines of base64.
AUTHORITIES = re.findall(r"MIIB[\w+/]{60}", CONFIG)
# One MTU, one address, one network behind a peer; and a virtual IP that goes.
CHANGES = {
    "vlanId: 100\n            mtu: 1400": "vlanId: 100\n            mtu: 1420",
    "10.31.0.1/32": "10.31.0.2/32",
    "10.41.0.0/16]": "10.41.0.0/16, 10.42.0.0/16]",
    """\
apiVersion: v1alpha1
kind: Layer2VIPConfig
name: 192.168.34.15
link: net0.34
---
""": "",
}


@attrs.frozen
class Accepted(IpState):
    """The machine, what it is connected to, and its agent."""

    far: Namespace
    files: Inside
    served: AgentProcess
    config: Path
    aliases: dict[str, object]

    def configure(self, text: str) -> None:
        """Replace the configuration, at once."""
        replacement = self.config.with_suffix(".new")
        replacement.write_text(text)
        replacement.rename(self.config)

    def given_routes(self) -> set[str]:
        """The routes that are configured or leased, as `ip` writes them."""
        lines: list[str] = []
        for family in ("-4", "-6"):
            lines += self.inside.run("ip", family, "route", "show", "table", "all").splitlines()
        lines = [line.removesuffix("linkdown ").strip() for line in lines]
        # What is of no protocol as `ip` writes it is of the one that leases are of.
        lines = [line if " proto " in line else line.replace(" metric ", " proto boot metric ") for line in lines]
        return {line for line in lines if " proto static" in line or " proto boot" in line}

    def given_rules(self) -> set[tuple[str, str]]:
        """The rules that are configured, as `ip` writes them, by family."""
        reported = {family: self.inside.run("ip", family, "rule").splitlines() for family in ("-4", "-6")}
        return {(family, line) for family, lines in reported.items() for line in lines if "proto static" in line}

    def problems(self) -> dict[str, str]:
        """What is wrong, by what it is about."""
        return {id: spec["message"] for id, spec in self.served.specs("networkproblems").items()}


@contextlib.asynccontextmanager
async def of_the_guest(inside: Namespace, far: Namespace) -> AsyncIterator[None]:
    """The guest's cards, all on one segment, and tunnels of its kernel."""
    with real_cards(inside, CARDS), real_cards(far, FAR_CARDS):
        for card in LACP_CARDS:
            inside.run("ethtool", "-s", card, "speed", "1000", "duplex", "full")
        far.ip(*(f"link add {link} type wireguard" for link in FAR_TUNNELS))
        yield


@contextlib.asynccontextmanager
async def of_cables(inside: Namespace, far: Namespace) -> AsyncIterator[None]:
    """Cards that are ends of cables to one switch, and tunnels of processes."""
    with namespace("switch") as switch:
        switch.ip("link add switch address 02:00:00:00:ff:00 up type bridge")
        for space, cards in ((inside, CARDS | {IGNORED: f"{MAC_PREFIX}08"}), (far, FAR_CARDS)):
            space.ip(
                *(
                    f"link add {card} address {address} type veth peer name {card} netns {switch.name}"
                    for card, address in cards.items()
                )
            )
        inside.ip("link set enp1s0 alias net0")
        switch.ip(*(f"link set {card} master switch up" for card in (*CARDS, *FAR_CARDS)))
        async with contextlib.AsyncExitStack() as stack:
            for link in FAR_TUNNELS:
                await stack.enter_async_context(running("wireguard-go", "--foreground", link, namespace=far))
            yield


Cards = Callable[[Namespace, Namespace], contextlib.AbstractAsyncContextManager[None]]


@contextlib.asynccontextmanager
async def environment(directory: Path, cards: Cards) -> AsyncIterator[tuple[Namespace, Namespace, Inside]]:
    """The machine's namespace, the one it is connected to, and the machine's files."""
    for path, text in ETC.items():
        file = directory / "etc" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    with namespaces("node", "far") as (inside, far):
        async with cards(inside, far):
            without_a_first_vrf(inside)
            inside.run("sh", "-c", NEAR)
            # The kernel gives a link a queue when it first comes up, and never takes it away.
            inside.ip(*(f"link set {card} {state}" for card in CARDS for state in ("up", "down")))
            far.ip(*FAR.splitlines())
            for link, settings in FAR_TUNNELS.items():
                await eventually(functools.partial(far.run, "wg", "show", link))
                far.run("wg", "setconf", link, "/dev/stdin", stdin=settings)
            far.ip(*FAR_TUNNEL_ADDRESSES.splitlines())
            async with (
                etcd_cluster([Place(namespace=inside)], fast=False),
                dnsmasq(far, directory, *DHCP),
                copy(directory, etc=directory / "etc") as files,
            ):
                # What the tool of the system does of its own, before the agent has it do anything.
                files.succeeds("update-ca-certificates")
                yield inside, far, files


@pytest.mark.hardware
@pytest.mark.soak  # under emulation it alone takes as long as everything else together
async def test_a_talos_machine_configuration_is_applied_to_network_cards_and_undone(tmp_path: Path) -> None:
    settings = SETTINGS.format(ttl="60s")  # an emulated processor is slow
    await is_applied_and_undone(tmp_path, CONFIG, settings, of_the_guest, {"enp1s0": {"alias": "net0"}})


@pytest.mark.needs_program("wireguard-go")
async def test_a_talos_machine_configuration_is_applied_and_undone(tmp_path: Path) -> None:
    text = CONFIG
    for card, cable in OF_CABLES.items():
        assert text.count(card) == 1, card
        text = text.replace(card, cable)
    await is_applied_and_undone(tmp_path, text, SETTINGS.format(ttl="15s"), of_cables, {})


async def is_applied_and_undone(
    directory: Path, text: str, settings: str, cards: Cards, aliases: dict[str, object]
) -> None:
    async with environment(directory, cards) as (inside, far, files):
        before, tree = await IpState(inside).rest(), files.tree()
        config, more = directory / "machine.yaml", directory / "nodespan.yaml"
        config.write_text(text)
        more.write_text(settings)
        options = ("--config", str(config), "--config", str(more), "--root", "/")
        async with agent(directory, *options, namespace=inside, machine=files, patience=PATIENCE) as served:
            made = Accepted(inside, far, files, served, config, aliases)
            await made.shows(lambda: is_as_described(made), within=PATIENCE)
            packets_go_where_they_should(made)
            # Files and resources follow what the kernel shows.
            await made.shows(lambda: files_are_as_described(made), within=PATIENCE)
            await made.shows(lambda: resources_tell_of_it(made), within=PATIENCE)
            rows = [line.split() for line in made.served.run("get", "links").splitlines()]
            assert any({"enp1s0", "net0"} <= set(row) for row in rows), rows
            await only_what_differs_changes(made, text)
            made.configure(EMPTY)
            await made.shows(lambda: is_again(made, before), within=PATIENCE)
            await made.shows(lambda: files_are_again(made, tree), within=PATIENCE)
            await made.shows(lambda: made.problems() == {}, within=PATIENCE)
            log_is_clean(made)


def is_as_described(made: Accepted) -> None:
    assert {name: made.addresses(name) for name in ADDRESSES} == ADDRESSES
    for name, reported in LINKS.items():
        assert {key: made.link(name).get(key) for key in reported} == reported, name
    for name, reported in DATA.items():
        assert {key: made.data(name).get(key) for key in reported} == reported, name
    assert made.given_routes() == ROUTES
    assert made.given_rules() == RULES
    assert (made.members("bond0"), made.members("bond1")) == (["enp0s16", "enp0s17f0"], ["eno3", "enp0s19"])
    assert {link["ifname"] for link in made.ip("addr") if "UP" not in link["flags"]} == {IGNORED}
    assert made.link(IGNORED)["addr_info"] == []


def packets_go_where_they_should(made: Accepted) -> None:
    # The router, the same by a VLAN, the two tunnels; and from there the two virtual IPs.
    for place, address in (
        (made.inside, "192.168.88.1"),
        (made.inside, "192.168.100.1"),
        (made.inside, "10.40.0.2"),
        (made.inside, "fd42::2"),
        (made.far, "192.168.100.15"),
        (made.far, "192.168.34.15"),
    ):
        place.run("ping", "-c", "1", "-w", "10", address)
    first, second = (made.inside.run("wg", "show", link, "dump").splitlines() for link in ("wg0", "wg1"))
    assert first[0].split("\t") == [*TUNNEL, "51820", "0x51820"]
    assert {tuple(line.split("\t")[column] for column in (0, 1, 2, 3, 7)) for line in first[1:]} == {
        (FAR_TUNNEL[1], "(none)", "192.168.88.1:51820", "10.40.0.2/32,10.41.0.0/16", "5"),
        (SILENT[1], "(none)", "(none)", "10.40.0.3/32", "off"),
    }
    assert second[0].split("\t")[:2] == [*SECOND]
    assert second[1].split("\t")[:4] == [FAR_SECOND[1], SHARED[0], "192.168.100.1:51821", "fd42::/64"]


def files_are_as_described(made: Accepted) -> None:
    names = ("hostname", "issue", "corp/motd", "corp/app.conf", "hosts", "resolv.conf")
    hostname, issue, motd, app, hosts, resolvers = (made.files.read(f"/etc/{name}") for name in names)
    assert (hostname, issue, motd, app) == ("node1\n", "ours\n", "welcome to node1\n", "secret\n")
    assert made.files.run("hostname") == "node1\n"
    modes = made.files.run("stat", "-c", "%a", "/etc/issue", "/etc/corp/motd", "/etc/corp/app.conf")
    assert modes.split() == ["600", "640", "600"]
    lines = [line.split() for line in hosts.splitlines()]
    assert ["127.0.0.1", "localhost"] in lines
    assert ["192.168.88.1", "gateway.corp.example", "gateway"] in lines
    assert ["192.168.88.2", "node2.corp.example", "node2"] in lines
    assert any(line[1:] == ["node1.corp.example", "node1"] for line in lines)
    assert [line for line in resolvers.splitlines() if line and not line.startswith("#")] == [
        "nameserver 10.1.0.53",
        "nameserver 10.2.0.53",
        "search corp.example example.org",
    ]
    bundle = made.files.read("/etc/ssl/certs/ca-certificates.crt")
    assert len(AUTHORITIES) == 2
    assert all(line in bundle for line in AUTHORITIES)


def resources_tell_of_it(made: Accepted) -> None:
    specs = made.served.specs
    assert specs("links").keys() == {link["ifname"] for link in made.ip("link")}
    reported = {f"{name}/{address}" for name, addresses in ADDRESSES.items() for address in addresses}
    assert reported <= specs("addresses").keys()
    assert {
        "inet4/192.168.88.1//2048",
        "inet4/10.61.0.1/10.62.0.0/16/1024",
        "inet4//10.255.0.0/16/1024",
        "bond0/inet6/fd88::1/fd89::/64/1024",
        "100/inet4/10.30.0.254//1024",
    } <= specs("routes").keys()
    assert specs("links")["enp1s0"]["alias"] == "net0"
    assert {"inet4/01000", "inet4/01001", "inet6/01001"} <= specs("routingrules").keys()
    assert specs("linkaliasspecs") == made.aliases
    assert specs("operatorspecs").keys() == {
        "dhcp4/enp0s20",
        "dhcp4/enp1s0",
        "vip/bond0.100/192.168.100.15",
        "vip/net0.34/192.168.34.15",
    }
    assert {lease["state"] for lease in specs("dhcpleases").values()} == {"bound"}
    assert {id: status["state"] for id, status in specs("vipstatuses").items()} == {
        "bond0.100/192.168.100.15": "leader",
        "net0.34/192.168.34.15": "leader",
    }
    assert specs("hostname") == {"hostname": {"hostname": "node1", "domainname": "corp.example"}}
    assert specs("resolvers")["resolvers"]["dnsServers"] == ["10.1.0.53", "10.2.0.53"]
    assert specs("resolvers")["resolvers"]["searchDomains"] == ["corp.example", "example.org"]
    assert specs("timeservers")["timeservers"]["timeServers"] == ["ntp1.corp.example", "ntp2.corp.example"]
    assert specs("statichosts")["node2"] == {"addresses": ["192.168.88.2"]}
    assert {each["error"] for each in specs("machinefilestatuses").values()} == {""}
    assert {(*each["subjects"], each["error"]) for each in specs("trustedroots").values()} == {
        ("CN=proxy.corp.example", ""),
        ("CN=roots.corp.example", ""),
    }
    assert {
        "http_proxy=http://proxy.corp.example:3128",
        "https_proxy=http://other.corp.example:3128",
        "no_proxy=10.0.0.0/8,192.168.0.0/16,.corp.example",
        "GRPC_GO_LOG_SEVERITY_LEVEL=info",
    } <= set(specs("environments")["machined"]["variables"])
    # Nothing that sets the clock runs in the guest.
    assert made.problems().keys() == {"TimeServerSpecs/timeservers"}


async def only_what_differs_changes(made: Accepted, text: str) -> None:
    for old, new in CHANGES.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    before = made.everything()
    indexes = {link["ifname"]: link["ifindex"] for link in made.ip("link")}
    handshakes = show(made.inside, "wg0", "latest-handshakes")
    made.configure(text)

    def is_changed() -> None:
        assert made.link("bond0.100")["mtu"] == 1420
        assert made.addresses("dummy0") == {"10.31.0.2/32"}
        assert made.addresses("net0.34") == {"192.168.34.21/24"}
        assert show(made.inside, "wg0", "allowed-ips")[FAR_TUNNEL[1]] == "10.40.0.2/32 10.41.0.0/16 10.42.0.0/16"

    await made.shows(is_changed, within=PATIENCE)
    # The only other difference is the routes that the kernel makes for addresses.
    changed = [each.partition(":")[0] for each in differences(before, made.everything())]
    assert changed == [".0.bond0.100.mtu", ".0.dummy0.addr_info.0.local", ".0.net0.34.addr_info", ".3"]
    assert made.given_routes() == ROUTES
    assert {link["ifname"]: link["ifindex"] for link in made.ip("link")} == indexes
    assert show(made.inside, "wg0", "latest-handshakes") == handshakes
    left = {"bond0.100/192.168.100.15"}
    await made.shows(lambda: made.served.specs("vipstatuses").keys() == left, within=PATIENCE)


def is_again(made: Accepted, before: Any) -> None:
    found = differences(before, made.everything())
    assert not found, found


def files_are_again(made: Accepted, tree: Any) -> None:
    found = differences(tree, made.files.tree())
    assert not found, found
    assert made.files.run("hostname") == "before\n"


def log_is_clean(made: Accepted) -> None:
    events = [json.loads(line) for line in made.served.log.splitlines()]
    errors = [each for each in events if each["level"] in ("error", "critical")]
    assert [each for each in errors if not any(part in each["event"] for part in OF_LITTLE_TIME)] == []
    assert not [each for each in events if "blocked" in each["event"] and each["ms"] > TOO_LONG_MS]
    assert not [each for each in events if "exception" in each]
    named = [each["parts"] for each in events if "are ignored" in each["event"]]
    # Once for each text.
    assert len(named) == 2
    for part in ("machine.kubelet", "machine.install.disk", "cluster.apiServer", "VolumeConfig[EPHEMERAL]"):
        assert sum(part in each for each in named[0]) == 1, part
