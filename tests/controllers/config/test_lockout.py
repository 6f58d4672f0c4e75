"""Whoever applies a configuration is warned if its firewall would not let the same connection in again."""

from pathlib import Path
from typing import Any

import pytest

from nodespan.controllers.config.loading import load
from nodespan.controllers.config.lockout import caller_of, lockout_warnings
from nodespan.controllers.config.ssh_connection import caller_argument, ssh_connection
from nodespan.controllers.network.config.address_config import AddressConfigController
from nodespan.controllers.network.config.nftables_chain_config import NfTablesChainConfigController
from nodespan.resources.kubespan import KubeSpanPeerSpec, KubeSpanPeerSpecSpec
from nodespan.resources.network import ROUTED_ADDRESSES_ID, NodeAddress, NodeAddressSpec
from nodespan.runtime.actions import ActionError
from nodespan.runtime.controller import ControllerContext
from nodespan.runtime.plugins import AnyController
from nodespan.runtime.state import MemoryState

BLOCK = "apiVersion: v1alpha1\nkind: NetworkDefaultActionConfig\ningress: block\n"
SSH = (
    "apiVersion: v1alpha1\nkind: NetworkRuleConfig\nname: ssh\nportSelector: {ports: [22], protocol: tcp}\n"
    "ingress: [{subnet: 192.0.2.0/24}, {subnet: '2001:db8::/32'}]\n"
)
TUNNEL = SSH.replace("ssh", "mesh").replace("22", "51820").replace("tcp", "udp").replace("/32", "/28")
INSIDE, OUTSIDE = ["192.0.2.7", "10.0.0.1", 22], ["198.51.100.7", "10.0.0.1", 22]


async def warned(caller: Any, *documents: str, trial: bool = False) -> str:
    state = MemoryState()
    await state.create(NodeAddress.new(ROUTED_ADDRESSES_ID, NodeAddressSpec(addresses=("10.0.0.1/8", "fd00::1/64"))))
    peer = KubeSpanPeerSpecSpec(
        address="fd7f::7",
        allowed_ips=("203.0.113.7/32", "2001:db8:7::/64"),
        endpoints=("203.0.113.7:51820", "[2001:db8:8::7]:51820"),
    )
    await state.create(KubeSpanPeerSpec.new("key", peer))
    config = load("---\n".join(documents)).config
    controllers: list[AnyController] = [AddressConfigController(), NfTablesChainConfigController()]
    found = await lockout_warnings(config, state, controllers, caller_of({"caller": caller}), trial=trial)
    return "".join(found)


@pytest.mark.parametrize(
    ("caller", "documents", "is_warned"),
    [
        (OUTSIDE, (BLOCK, SSH), True),
        (OUTSIDE, (SSH,), True),
        (OUTSIDE, (BLOCK,), True),
        (INSIDE, (BLOCK, SSH), False),
        (INSIDE, (SSH,), False),
        (["192.0.2.7", "10.0.0.1", 2222], (BLOCK, SSH), True),
        (["192.0.2.7", "10.0.0.1", 2222], (SSH,), False),
        (["::ffff:198.51.100.7", "::ffff:10.0.0.1", 22], (BLOCK, SSH), True),
        (["2001:db8::7", "", 22], (BLOCK, SSH), False),
        (["2001:db9::7", "", 22], (BLOCK, SSH), True),
        (["fe80::7%eth0", "fe80::1%eth0", 22], (BLOCK, SSH), True),
        # By links that are trusted: of the machine itself, and of the mesh.
        (["127.0.0.1", "127.0.0.1", 22], (BLOCK,), False),
        (["10.0.0.1", "10.0.0.1", 22], (BLOCK,), False),
        (["203.0.113.7", "10.0.0.1", 22], (BLOCK, TUNNEL), False),
        (["2001:db8:7::7", "fd00::1", 22], (BLOCK, TUNNEL), False),
        (["203.0.113.7", "10.0.0.1", 22], (BLOCK,), True),
        (["203.0.113.7", "10.0.0.1", 22], (SSH,), False),
        # Without a connection, and without a firewall.
        (None, (BLOCK,), False),
        (OUTSIDE, ("machine: {type: worker}\n",), False),
    ],
)
async def test_the_caller_is_warned_before_being_locked_out(
    caller: Any, documents: tuple[str, ...], is_warned: bool
) -> None:
    assert bool(await warned(caller, *documents)) is is_warned


async def test_the_warning_says_what_to_do() -> None:
    text = await warned(OUTSIDE, BLOCK, SSH)
    assert text.startswith("warning: the firewall of this configuration lets no new connection in from 198.51.100.7")
    assert "TCP port 22" in text
    assert "--mode try" in text
    assert "it goes back by itself" in await warned(OUTSIDE, BLOCK, SSH, trial=True)


async def test_whoever_is_connected_by_the_mesh_is_warned_of_its_tunnel() -> None:
    text = await warned(["203.0.113.7", "10.0.0.1", 22], BLOCK)
    assert "it closes UDP port 51820" in text
    assert "a NetworkRuleConfig for port 51820" in text


class Failing(NfTablesChainConfigController):
    async def run(self, ctx: ControllerContext) -> None:
        raise OSError("no")


async def test_if_it_cannot_be_found_out_that_is_said() -> None:
    config = load(BLOCK).config
    (text,) = await lockout_warnings(config, MemoryState(), [Failing()], caller_of({"caller": OUTSIDE}), trial=False)
    assert "could not be found out" in text


@pytest.mark.parametrize(
    "caller",
    [
        "x",
        5,
        [],
        ["192.0.2.7", "10.0.0.1"],
        ["here", "", 22],
        [5, "", 22],
        ["192.0.2.7", "", 0],
        ["192.0.2.7", "", "22"],
    ],
)
def test_a_caller_that_is_none_is_refused(caller: Any) -> None:
    with pytest.raises(ActionError, match="the caller of the request must be"):
        caller_of({"caller": caller})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.7 51000 10.0.0.1 22", ["192.0.2.7", "10.0.0.1", 22]),
        ("", None),
        ("192.0.2.7 51000 10.0.0.1", None),
        ("192.0.2.7 51000 10.0.0.1 ssh", None),
    ],
)
def test_what_sshd_says_names_the_caller(text: str, expected: list[object] | None) -> None:
    assert caller_argument(text) == expected


def process(proc: Path, pid: int, parent: int, environment: bytes) -> None:
    (proc / str(pid)).mkdir(parents=True)
    (proc / str(pid) / "environ").write_bytes(environment)
    (proc / str(pid) / "stat").write_text(f"{pid} (a ) 9 b) S {parent} 0 0")


def test_sudo_hides_the_connection_and_the_shell_above_it_shows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    monkeypatch.setattr("os.getppid", lambda: 300)
    process(tmp_path, 300, 200, b"PATH=/bin\0SUDO_USER=me\0")
    process(tmp_path, 200, 100, b"A=1\0SSH_CONNECTION=192.0.2.7 5 10.0.0.1 22\0B=2\0")
    assert ssh_connection(tmp_path) == "192.0.2.7 5 10.0.0.1 22"
    monkeypatch.setenv("SSH_CONNECTION", "192.0.2.8 5 10.0.0.1 22")
    assert ssh_connection(tmp_path) == "192.0.2.8 5 10.0.0.1 22"


@pytest.mark.parametrize("parent", [1, 0, 150])
def test_without_a_connection_there_is_no_caller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parent: int) -> None:
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    monkeypatch.setattr("os.getppid", lambda: 200)
    process(tmp_path, 200, parent, b"")
    assert ssh_connection(tmp_path) == ""
