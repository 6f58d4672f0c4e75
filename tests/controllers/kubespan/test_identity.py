import base64
import stat
from pathlib import Path
from typing import Any

import pytest

from nodespan.controllers.kubespan.identity import (
    FILE_NAME,
    IdentityController,
    IdentityFileError,
    format_file,
    load_or_create,
    new_keys,
    parse_file,
    with_address,
)
from nodespan.kernel.wireguard.keys import new_private_key, public_key_of
from nodespan.resources.kubespan import (
    KUBESPAN_CONFIG_ID,
    LOCAL,
    KubeSpanConfig,
    KubeSpanConfigSpec,
    KubeSpanIdentity,
    KubeSpanIdentitySpec,
)
from nodespan.resources.network import FIRST_HARDWARE_ADDRESS_ID, HardwareAddr, HardwareAddrSpec
from nodespan.runtime.testing.kit import running
from tests.support.vectors import each, load

MAC = "ea:71:1b:b2:cc:ee"


@each("wireguard_keypair")
def test_the_public_key_follows_from_the_private_one(vector: dict[str, Any]) -> None:
    if vector["derives"]:
        assert public_key_of(vector["private_key"]) == vector["public_key"]
    if "random_hex" in vector:
        assert new_private_key(bytes.fromhex(vector["random_hex"])) == vector["private_key"]


def test_the_file_holds_the_keys_and_no_address() -> None:
    (vector,) = [v for v in load("identity_file") if v["name"] == "kubespan-fresh"]
    keys = parse_file(vector["yaml"], Path("file"))
    assert format_file(keys) == vector["yaml"]
    identity = with_address(keys, vector["cluster_id"], vector["mac"])
    assert (identity.address, identity.subnet) == (vector["address"], vector["subnet"])


def test_a_new_file_is_readable_by_its_owner_only_and_kept(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    keys = load_or_create(path, lambda count: bytes(range(count)))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_or_create(path, lambda count: pytest.fail("a key that is there is not made anew")) == keys
    assert [entry.name for entry in tmp_path.iterdir()] == [FILE_NAME]


GOOD = new_keys(bytes(range(32)))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "no private key"),
        ("privateKey: [", "not YAML"),
        ("- a list", "no private key"),
        ("privateKey: '?'", "not base64"),
        ("privateKey: QUJD", "3 bytes"),
        (
            f"privateKey: {GOOD.private_key}\npublicKey: {base64.b64encode(bytes(32)).decode()}",
            "do not belong together",
        ),
    ],
)
def test_a_damaged_file_is_explained_without_quoting_it(text: str, what: str) -> None:
    with pytest.raises(IdentityFileError, match=what) as caught:
        parse_file(text, Path("/state/kubespan-identity.yaml"))
    assert "remove it" in str(caught.value)
    assert GOOD.private_key not in str(caught.value)


def test_a_file_that_is_not_text_is_damaged(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(IdentityFileError, match="not text"):
        load_or_create(tmp_path / FILE_NAME, bytes)


def test_keys_do_not_show_in_representations() -> None:
    assert GOOD.private_key not in repr(GOOD)
    assert "secret" not in repr(KubeSpanConfigSpec(shared_secret="secret"))


ENABLED = KubeSpanConfigSpec(enabled=True, cluster_id="cluster", shared_secret="s")


async def test_the_identity_comes_and_goes_with_the_switch_and_the_keys_stay(tmp_path: Path) -> None:
    async with running(IdentityController(tmp_path)) as node:
        await node.put(HardwareAddr, FIRST_HARDWARE_ADDRESS_ID, HardwareAddrSpec(name="eth0", hardware_addr=MAC))
        await node.put(KubeSpanConfig, KUBESPAN_CONFIG_ID, ENABLED)
        first = await node.eventually(KubeSpanIdentity, LOCAL)
        await node.put(
            HardwareAddr, FIRST_HARDWARE_ADDRESS_ID, HardwareAddrSpec(name="eth1", hardware_addr="02:00:00:00:00:01")
        )
        await node.settled()
        assert node.state.get(KubeSpanIdentity, LOCAL).spec == first.spec
        await node.put(KubeSpanConfig, KUBESPAN_CONFIG_ID, KubeSpanConfigSpec(cluster_id="cluster"))
        await node.gone(KubeSpanIdentity, LOCAL)
        await node.put(KubeSpanConfig, KUBESPAN_CONFIG_ID, ENABLED)
        second = await node.eventually(KubeSpanIdentity, LOCAL)
        assert second.spec.private_key == first.spec.private_key
        assert second.spec.address != first.spec.address


async def test_a_damaged_file_stops_only_this_controller(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("privateKey: nonsense")
    async with running(IdentityController(tmp_path), allow_crashes=True) as node:
        await node.put(HardwareAddr, FIRST_HARDWARE_ADDRESS_ID, HardwareAddrSpec(name="eth0", hardware_addr=MAC))
        await node.put(KubeSpanConfig, KUBESPAN_CONFIG_ID, ENABLED)
        crash = await node.crashed("kubespan.IdentityController")
        assert "damaged" in str(crash)
        assert node.state.find(KubeSpanIdentity, LOCAL) is None
        (tmp_path / FILE_NAME).write_text(format_file(GOOD))
        identity = await node.eventually(KubeSpanIdentity, LOCAL)
        assert identity.spec == with_address(GOOD, "cluster", MAC)
        assert isinstance(identity.spec, KubeSpanIdentitySpec)
