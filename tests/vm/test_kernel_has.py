"""What the other tests of the vm tier build on. If something is missing here, the guest is the wrong one."""

import subprocess
from pathlib import Path

import pytest

from tests.support.netns import namespace
from tests.support.probe import make_link
from tests.vm.cards import MAC_PREFIX, NETWORK_CARDS

KINDS = [
    *("bond", "bridge", "dummy", "ipvlan", "macvlan", "veth", "vlan", "vrf", "vxlan"),
    pytest.param("wireguard", marks=pytest.mark.hardware),
]


@pytest.mark.parametrize("kind", KINDS)
def test_the_guest_kernel_supports(kind: str) -> None:
    with namespace() as inside:
        make_link(inside, kind, "made")
        (link,) = inside.reported("link", "show", "made")
    assert link["linkinfo"]["info_kind"] == kind


@pytest.mark.hardware
def test_the_guest_has_its_network_cards() -> None:
    present = {path.read_text().strip() for path in Path("/sys/class/net").glob("*/address")}
    assert present >= {f"{MAC_PREFIX}{number:02x}" for number in range(len(NETWORK_CARDS))}


@pytest.mark.hardware
def test_the_packet_filter_cannot_be_unloaded_while_a_table_has_rules() -> None:
    # docs/kubespan.md says so of the guard of KubeSpan; User Mode Linux has no nf_tables families to try it with.
    with namespace() as inside:
        inside.run(
            "nft", "add table inet nodespan; add chain inet nodespan guard { type filter hook output priority 0; }"
        )
        inside.run("nft", "add rule inet nodespan guard meta mark & 0x60 == 0x20 accept")
        for command in (("rmmod", "nf_tables"), ("modprobe", "--remove", "nf_tables")):
            assert subprocess.run(command, capture_output=True, check=False).returncode != 0
        assert "guard" in inside.run("nft", "list", "table", "inet", "nodespan")
