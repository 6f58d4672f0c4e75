"""`nodespan cluster` as far as it needs no root."""

import argparse
import os
import shlex
import shutil
from pathlib import Path

import pytest

from nodespan.cluster import requirements, show
from nodespan.cluster.cli import CANNOT, command
from nodespan.cluster.ownership import owned, owner_of
from nodespan.cluster.plan import Plan
from nodespan.runtime.cli.errors import CommandError


def cluster(line: str) -> int:
    """Run the verb as a user would."""
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args(shlex.split(line)))


def test_without_root_the_command_explains_and_exits_with_its_own_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert cluster("create") == CANNOT == 3
    assert "need root" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("has", "advice"),
    [
        ({"apt-get"}, "apt-get install --no-install-recommends iproute2 nftables"),
        ({"dnf"}, "dnf install iproute nftables"),
        (set(), "install the packages iproute2 nftables"),
    ],
)
def test_missing_requirements_are_reported_by_package_name(
    monkeypatch: pytest.MonkeyPatch, has: set[str], advice: str
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda name: name if name in has | {"unshare", "mount"} else None)
    assert requirements.missing_requirements() == [f"programs are missing: {advice}"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("create --name A-B", "is not a valid cluster name"),
        ("create --nodes 1", "between 2 and 200"),
        ("create --control-planes 4", "between 1 and 3 are control planes, not 4"),
        ("create --control-planes 0", "between 1 and 3 are control planes, not 0"),
        ("create --wireguard-cidr 10.99.0.0/30", "too few addresses for 3 nodes"),
        ("create --wireguard-cidr 198.51.0.0/16", "overlaps with 198.51.100.0/24"),
        ("create --vip 198.51.101.1", "not an address of 198.51.100.0/24, the network of the nodes"),
        ("create --vip fd00::1", "not an address of 198.51.100.0/24"),
        ("create --vip 198.51.100.255", "not an address of 198.51.100.0/24"),
        ("create --vip 198.51.100.12", "198.51.100.12 is the address of b: choose another one"),
        ("create --vip 198.51.100.1", "198.51.100.1 is the address of internet: choose another one"),
        ("create --vip 198.51.100.100 --nodes 2", "at least 3 control planes, for etcd to outlive one of them, not 2"),
        ("create --vip 198.51.100.100 --control-planes 1", "at least 3 control planes"),
        ("create --demonstrate", "needs a virtual IP"),
        ("destroy --name ../x", "is not a valid cluster name"),
    ],
)
def test_names_and_sizes_are_checked_first(monkeypatch: pytest.MonkeyPatch, line: str, reason: str) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(CommandError, match=reason):
        cluster(line)


def test_etcd_is_required_for_a_virtual_ip_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda name: None if name in ("etcd", "nft") else name)
    advice = "programs are missing: apt-get install --no-install-recommends nftables"
    assert requirements.missing_requirements() == [advice]
    assert requirements.missing_requirements(vip=True) == [f"{advice} etcd-server"]


def test_an_invalid_virtual_ip_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cluster("create --vip 198.51.100")
    assert "write it like 198.51.100.100" in capsys.readouterr().err


@pytest.mark.parametrize("network", ["10.99.0.1/24", "10.99.0.0/33", "wg0"])
def test_an_invalid_network_is_explained(network: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cluster(f"create --wireguard-cidr {network}")
    assert "write it like 10.99.0.0/24" in capsys.readouterr().err


def test_an_unknown_node_is_reported_with_the_existing_ones(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(show, "CLUSTERS", tmp_path)
    with pytest.raises(CommandError, match="create a cluster with"):
        cluster("exec a -- wg show")
    (tmp_path / "lab").mkdir()
    with pytest.raises(CommandError, match="lab-router, lab-a, lab-b, lab-c"):
        cluster("exec a -- wg show")
    with pytest.raises(CommandError, match="no command to run in lab-a"):
        cluster("exec lab-a")


def test_the_owner_of_a_cluster_is_known_while_it_runs(tmp_path: Path) -> None:
    plan = Plan(clusters=tmp_path)
    plan.directory.mkdir()
    assert owner_of(plan) is None
    with owned(plan):
        assert owner_of(plan) == os.getpid()
        with pytest.raises(BlockingIOError), owned(plan):
            pass
    assert owner_of(plan) is None
