"""The examples of the reference on real links: applied as they are, read back with the field's own tools, and removed.

What they become as specs is tested in tests/controllers/network/config, from the same files.
"""

from functools import partial

import pytest

from nodespan.resources.network import OperatorSpec
from tests.controllers.network.config.house import DATA
from tests.mesh.bond_scenarios import plug
from tests.support.deadlines import PATIENCE
from tests.support.tunnels import show
from tests.vm.cards import MAC_PREFIX
from tests.vm.configured import Machine, at_work, place, real_cards

# By the names and addresses that the examples have.
CARDS = {
    "enp1s0": "02:00:00:00:01:01",
    "enp2s0": "02:00:00:00:01:02",
    "enp3s0": "02:00:00:00:01:03",
    "eth0": "02:00:00:00:01:04",
    "ens4": "00:50:56:8e:8f:e4",
    "ens5": "00:50:57:9c:2c:2d",
}
# On the PCI bus, and with a driver of virtio: what is selected by either.
REAL = "ens3"
PUBLIC = "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="


def selectors(made: Machine) -> None:
    assert made.addresses(REAL) == {"192.168.88.21/24", "10.3.4.5/24"}
    assert made.addresses("bond0") == {"10.20.0.5/24"}
    assert made.members("bond0") == ["ens4", "ens5"]
    assert made.data("bond0")["mode"] == "balance-rr"
    assert [made.link(name)["address"] for name in ("bond0", "ens4", "ens5")] == [CARDS["ens4"]] * 3
    # It has no miimon, and so never notices a dead member.
    assert made.problems().keys() == {"LinkSpecs/bond0"}


def virtual_ip(made: Machine) -> None:
    assert (made.data("eth0.100")["id"], made.link("eth0.100")["link"]) == (100, "eth0")
    assert all("UP" in made.link(name)["flags"] for name in ("eth0", "eth0.100", REAL))
    assert {each.id for each in made.runtime.state.list(OperatorSpec)} == {
        *("dhcp4/eth0", "dhcp4/eth0.100", f"dhcp4/{REAL}"),
        *("vip/eth0/192.168.0.15", "vip/eth0.100/192.168.1.15", f"vip/{REAL}/192.168.2.15"),
    }
    assert made.problems() == {}


def wireguard(made: Machine) -> None:
    assert (made.addresses("wg0"), made.link("wg0")["mtu"]) == ({"192.168.2.1/24"}, 1500)
    assert made.inside.run("wg", "show", "wg0", "listen-port").strip() == "51820"
    assert show(made.inside, "wg0", "endpoints") == {PUBLIC: "209.202.254.14:8172"}
    assert show(made.inside, "wg0", "allowed-ips") == {PUBLIC: "192.168.88.0/24"}
    assert show(made.inside, "wg0", "persistent-keepalive") == {PUBLIC: "5"}
    assert made.problems() == {}


def addressing(made: Machine) -> None:
    assert made.link("enp1s0")["mtu"] == 9000
    assert made.addresses("enp1s0") == {"10.0.0.5/24", "fd00::5/64", "10.0.0.9/32"}
    assert made.routes() == {("default", "10.0.0.1", "enp1s0"), ("10.8.0.0/16", "", "enp1s0")}
    (default,) = made.ip("-4", "route", "show", "default")
    (link,) = made.ip("-4", "route", "show", "10.8.0.0/16")
    assert (default["metric"], link["scope"], link["prefsrc"]) == (2048, "link", "10.0.0.5")
    assert "UP" in made.link("enp2s0")["flags"]
    assert "UP" not in made.link("enp3s0")["flags"]
    assert {each.id for each in made.runtime.state.list(OperatorSpec)} == {"dhcp4/enp2s0", "dhcp6/enp2s0"}
    assert made.problems() == {}


def documents(made: Machine) -> None:
    assert made.link(REAL)["ifalias"] == "net0"
    assert made.members("bond0") == ["enp1s0", "enp2s0"]
    reported = {"mode": "802.3ad", "miimon": 100, "updelay": 200, "downdelay": 200, "ad_lacp_rate": "fast"}
    assert {key: made.data("bond0")[key] for key in reported} == reported
    assert made.addresses("bond0") == {"10.15.0.3/16"}
    assert made.routes() == {("10.0.0.0/8", "10.15.0.1", "bond0"), ("default", "10.15.0.1", "bond0")}
    assert (made.data("net0.34")["id"], made.link("net0.34")["link"]) == (34, REAL)
    assert made.addresses("net0.34") == {"192.168.1.100/24"}
    assert {each.id for each in made.runtime.state.list(OperatorSpec)} == {f"dhcp4/{REAL}", "vip/net0.34/192.168.1.15"}
    assert made.problems() == {}


def more_documents(made: Machine) -> None:
    flags = made.link("enp1s0")["flags"]
    assert (made.link("enp1s0")["mtu"], "UP" in flags, "MULTICAST" in flags) == (9000, False, False)
    assert made.addresses("enp1s0") == {"fd00::5/64"}
    assert made.link("dummy0")["address"] == "02:00:5e:10:00:01"
    assert (made.data("br0")["stp_state"], made.data("br0")["vlan_filtering"]) == (1, 1)
    assert made.link("enp2s0")["master"] == "br0"
    assert (made.data("vrf-blue")["table"], made.link("enp3s0")["master"]) == (123, "vrf-blue")
    assert (made.addresses("veth-a"), made.addresses("veth-b")) == ({"192.0.2.1/30"}, {"192.0.2.2/30"})
    assert made.link("veth-b")["mtu"] == 1400
    assert made.inside.run("wg", "show", "wg1", "fwmark").strip() == "0x51"
    assert show(made.inside, "wg1", "endpoints") == {PUBLIC: "[2001:db8::1]:51820"}
    assert show(made.inside, "wg1", "allowed-ips") == {PUBLIC: "10.9.0.0/24"}
    assert show(made.inside, "wg1", "preshared-keys") == {PUBLIC: "AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}
    assert made.rules() == {(1000, "10.0.0.0/8", "100"), (1001, "all/", "main")}
    assert made.routes() == {("10.255.0.0/16", "", "")}
    assert made.routes(family="-6") == {("fd00:1::/32", "", "lo")}
    # A route by a link that is to be down, and what a cloud does itself.
    assert made.problems().keys() == {
        "RouteSpecs/100/enp1s0/inet6/fe80::1//100",
        "OperatorSpecs/configuration/vip/enp1s0/192.0.2.9",
    }


EXAMPLES = (selectors, virtual_ip, wireguard, addressing, documents, more_documents)


@pytest.mark.hardware
@pytest.mark.soak
async def test_each_example_is_applied_and_undone() -> None:
    with place() as (inside, far), real_cards(inside, {REAL: f"{MAC_PREFIX}00"}):
        plug(inside, far, CARDS)
        inside.run("ip", "link", "set", REAL, "address", "00:00:00:00:00:01")
        # The kernel gives a link a queue when it first comes up, and never takes it away.
        inside.run("ip", "-batch", "-", stdin="".join(f"link set {c} up\nlink set {c} down\n" for c in (REAL, *CARDS)))
        async with at_work(inside, far) as made:
            before = await made.rest()
            for is_as_it_says in EXAMPLES:
                text = (DATA / f"{is_as_it_says.__name__}.yaml").read_text()
                # The guest's card has a permanent address of its own.
                await made.configure(text.replace("00:1a:2b:", MAC_PREFIX[:9]))
                await made.settled()
                await made.shows(partial(is_as_it_says, made), within=PATIENCE)
                await made.nothing()
                await made.settled()
                await made.is_again(before)
                await made.becomes(problems={})
