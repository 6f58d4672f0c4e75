"""Who else manages a link, by the files on the disk."""

from pathlib import Path

import pytest

from nodespan.controllers.network.managers.link_holders import find_holders
from nodespan.controllers.network.managers.link_managers import LinkManagersController
from nodespan.resources.network import ConfigLayer, LinkSpec, LinkSpecSpec, LinkStatus, NetworkProblem
from nodespan.resources.network.problem import Severity
from nodespan.runtime.testing.kit import running
from tests.controllers.network.config.house import nic, problems

INTERFACES = """\
source /etc/network/interfaces.d/*

auto lo
iface lo inet loopback

allow-hotplug eth0
# The primary network interface
iface eth0 inet dhcp
    hostname one

iface eth1 inet manual
"""

NETWORKD = {
    "run/systemd/netif/links/2": "# comment\nADMIN_STATE=configured\nNETWORK_FILE=/etc/systemd/network/a.network\n"
}
NETPLAN = {
    "run/systemd/netif/links/2": "ADMIN_STATE=configuring\nNETWORK_FILE=/run/systemd/network/10-netplan-eth0.network\n"
}

CASES = [
    ("nobody", {}, []),
    ("networkd", NETWORKD, ["systemd-networkd", "a.network", "Name=eth0", "Unmanaged=yes", "networkctl reload"]),
    ("netplan", NETPLAN, ["netplan manages eth0 too", "netplan apply"]),
    ("networkd leaves it alone", {"run/systemd/netif/links/2": "ADMIN_STATE=unmanaged\nNETWORK_FILE=/a\n"}, []),
    ("networkd knows nothing of it", {"run/systemd/netif/links/2": "ADMIN_STATE=unmanaged\n"}, []),
    (
        "NetworkManager",
        {"run/NetworkManager/devices/2": "[device]\nmanaged=true\nconnection-uuid=1234\n"},
        ["NetworkManager manages eth0 too (with connection 1234)", "match-device=interface-name:eth0", "managed=0"],
    ),
    ("NetworkManager leaves it alone", {"run/NetworkManager/devices/2": "[device]\nmanaged=false\n"}, []),
    (
        "ifupdown",
        {"etc/network/interfaces": INTERFACES},
        ["ifupdown manages eth0 too", "/etc/network/interfaces:8", "sed -i '8,9s/^/#/' /etc/network/interfaces"],
    ),
    ("ifupdown in a further file", {"etc/network/interfaces.d/x": "iface eth0 inet6 auto"}, ["interfaces.d/x:1"]),
    ("ifupdown by hand", {"etc/network/interfaces": "iface eth0 inet manual\n"}, []),
    ("another link", {"run/systemd/netif/links/3": NETWORKD["run/systemd/netif/links/2"]}, []),
]


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.mark.parametrize(("files", "words"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_holder_is_found_with_how_to_release_the_link(
    tmp_path: Path, files: dict[str, str], words: list[str]
) -> None:
    write(tmp_path, files)
    found = find_holders({"eth0": 2}, tmp_path).get("eth0", ())
    text = "; ".join(holder.warning("eth0") for holder in found)
    assert bool(found) is bool(words)
    assert all(word in text for word in words), text


def test_two_holders_are_both_named(tmp_path: Path) -> None:
    write(tmp_path, NETWORKD | {"etc/network/interfaces": INTERFACES})
    holders = find_holders({"eth0": 2}, tmp_path)["eth0"]
    assert [holder.manager for holder in holders] == ["systemd-networkd", "ifupdown"]


async def test_only_links_that_are_named_are_warned_of_and_only_as_long_as_they_are_held(tmp_path: Path) -> None:
    write(tmp_path, NETWORKD | {"run/systemd/netif/links/3": NETWORKD["run/systemd/netif/links/2"]})
    async with running(LinkManagersController(root=tmp_path, interval=0.05)) as node:
        await node.put(LinkStatus, "eth0", nic(2))
        await node.put(LinkStatus, "eth1", nic(3))
        await node.put(LinkStatus, "eth2", nic(4))
        await node.put(LinkSpec, "eth0", LinkSpecSpec(name="eth0", layer=ConfigLayer.CONFIGURATION))
        await node.put(LinkSpec, "eth2", LinkSpecSpec(name="eth2", layer=ConfigLayer.CONFIGURATION))
        warning = await node.eventually(NetworkProblem, "LinkStatuses/eth0")
        assert warning.spec.severity is Severity.WARNING
        assert list(problems(node)) == ["LinkStatuses/eth0"]
        (tmp_path / "run/systemd/netif/links/2").unlink()
        await node.gone(NetworkProblem, "LinkStatuses/eth0")
