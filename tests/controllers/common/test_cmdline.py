"""What the kernel command line says about the network."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodespan.controllers.common.cmdline import CmdlineBond, CmdlineIP, CmdlineNetwork, CmdlineVLAN, parse_cmdline
from nodespan.controllers.common.link_settings.bond_defaults import bond_master
from nodespan.resources.network import enums

UNDERSTOOD: list[tuple[str, dict[str, Any]]] = [
    ("root=/dev/sda1 ro quiet", {}),
    ("ip=dhcp", {}),
    ("ip=eth1:dhcp", {"ips": (CmdlineIP(link_name="eth1", dhcp=True),), "dhcp_links": ("eth1",)}),
    (
        "ip=10.0.0.5:10.0.0.2:10.0.0.1:255.255.255.0:node:eth0:off:10.0.0.53:10.0.1.53:10.0.0.123",
        {
            "ips": (
                CmdlineIP(
                    link_name="eth0",
                    address="10.0.0.5/24",
                    gateway="10.0.0.1",
                    hostname="node",
                    dns_servers=("10.0.0.53", "10.0.1.53"),
                    time_servers=("10.0.0.123",),
                ),
            )
        },
    ),
    ("ip=10.0.0.5::10.0.0.1", {"ips": (CmdlineIP(address="10.0.0.5/32", gateway="10.0.0.1"),)}),
    ("ip=10.0.0.5:::20", {"ips": (CmdlineIP(address="10.0.0.5/20"),)}),
    (
        "ip=[fd00::5]::[fd00::1]:[ffff:ffff::]::eth0",
        {"ips": (CmdlineIP(link_name="eth0", address="fd00::5/32", gateway="fd00::1"),)},
    ),
    (
        "ip=[fd00::5]:::64::eth0 ip=:::::eth1:dhcp",
        {
            "ips": (CmdlineIP(link_name="eth0", address="fd00::5/64"), CmdlineIP(link_name="eth1", dhcp=True)),
            "dhcp_links": ("eth1",),
        },
    ),
    ("talos.hostname=a talos.hostname=b", {"hostname": "b"}),
    (
        "talos.network.interface.ignore=eth2 talos.network.interface.ignore=eth3",
        {"ignored_interfaces": frozenset({"eth2", "eth3"})},
    ),
    (
        "bond=bond1",
        {
            "bond": CmdlineBond(
                name="bond1", members=("eth0", "eth1"), options=bond_master(enums.BondMode.ROUND_ROBIN, {})
            )
        },
    ),
    (
        "bond=bond1:ens3,ens4:mode=802.3ad,xmit_hash_policy=layer3+4,miimon=9,arp_ip_target=10.0.0.1;10.0.0.2:1450",
        {
            "bond": CmdlineBond(
                name="bond1",
                members=("ens3", "ens4"),
                options=bond_master(
                    enums.BondMode.IEEE8023AD,
                    {
                        "xmit_hash_policy": enums.XmitHashPolicy.LAYER34,
                        "miimon": 9,
                        "arp_ip_targets": ("10.0.0.1", "10.0.0.2"),
                    },
                ),
                mtu=1450,
            )
        },
    ),
    (
        "bond=b::mode=1,primary=eth0,use_carrier=0,num_grat_arp=3",
        {
            "bond": CmdlineBond(
                name="b",
                members=("eth0", "eth1"),
                options=bond_master(
                    enums.BondMode.ACTIVE_BACKUP, {"primary": "eth0", "use_carrier": False, "num_peer_notif": 3}
                ),
            )
        },
    ),
    (
        "bond=a bond=b",
        {"bond": CmdlineBond(name="a", members=("eth0", "eth1"), options=bond_master(enums.BondMode.ROUND_ROBIN, {}))},
    ),
    ("vlan=eth0.100:eth0", {"vlan": CmdlineVLAN(name="eth0.100", parent="eth0", vlan_id=100)}),
    ("vlan=vlan5:eth0 vlan=vlan6:eth0", {"vlan": CmdlineVLAN(name="eth0.5", parent="eth0", vlan_id=5)}),
    ("vlan=x.4095:enp59s0f0np0", {"vlan": CmdlineVLAN(name="enp5634d92.4095", parent="enp59s0f0np0", vlan_id=4095)}),
]

MISTAKES = [
    ("ip=off", "ip=off"),
    ("ip=eth0:auto6", "expected DEVICE:dhcp"),
    ("ip=10.0.0.500::10.0.0.1", "'10.0.0.500' is not an IP address"),
    ("ip=fd00::5::", "stand in brackets"),
    ("ip=10.0.0.5:::33", "is not a network mask"),
    ("ip=10.0.0.5:::255.0.255.0", "is not a network mask"),
    ("ip=[fd00::5]:::255.0.0.0", "is not a network mask"),
    ("ip=10.0.0.5::::::x:nonsense", "'nonsense' is not an IP address"),
    ("bond=", "expected NAME"),
    ("bond=b:eth0:mode=9", "mode is one of balance-rr"),
    ("bond=b:eth0:speed=9", "unknown option 'speed'"),
    ("bond=b:eth0:miimon=fast", "miimon is a number"),
    ("bond=b:eth0::many", "the MTU 'many' is not a number"),
    ("vlan=eth0.100", "expected DEVICE.ID"),
    ("vlan=eth0.0:eth0", "from 1 to 4095"),
    ("vlan=five:eth0", "from 1 to 4095"),
]


@pytest.mark.parametrize(("line", "expected"), UNDERSTOOD, ids=[case[0] for case in UNDERSTOOD])
def test_valid_command_lines(line: str, expected: dict[str, Any]) -> None:
    assert parse_cmdline(line) == CmdlineNetwork(**expected)


@pytest.mark.parametrize(("mistake", "words"), MISTAKES)
def test_an_error_voids_all_but_dhcp_before_it_and_ignored_interfaces(mistake: str, words: str) -> None:
    line = f"talos.hostname=a ip=eth7:dhcp ip=10.0.0.7:::24::eth7 talos.network.interface.ignore=eth9 {mistake}"
    network = parse_cmdline(line)
    assert words in network.error
    expected = CmdlineNetwork(dhcp_links=("eth7",), ignored_interfaces=frozenset({"eth9"}), error=network.error)
    assert network == expected


def test_the_host_name_of_its_own_parameter_wins() -> None:
    ip = "ip=10.0.0.5:::24:first:eth0 ip=10.0.0.6:::24:second:eth1"
    assert parse_cmdline(ip).first_hostname == "first"
    assert parse_cmdline(f"{ip} talos.hostname=own").first_hostname == "own"


def test_servers_of_all_parameters_are_combined() -> None:
    network = parse_cmdline("ip=:::::eth0:off:10.0.0.53:10.0.1.53:10.0.0.1 ip=:::::eth1:off:10.0.0.53::10.0.0.2")
    assert network.dns_servers == ("10.0.0.53", "10.0.1.53")
    assert network.time_servers == ("10.0.0.1", "10.0.0.2")


@given(st.text(alphabet="ip=bondvlan:[],.0123456789 fe;", max_size=60))
def test_any_command_line_can_be_parsed(line: str) -> None:
    parse_cmdline(f"ip={line} bond={line} vlan={line}")
