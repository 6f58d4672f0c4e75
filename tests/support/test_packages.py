"""Packages are installed without their services: nothing starts, and nothing starts with the machine."""

import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.support import packages
from tests.support.deadlines import PATIENCE

# Stands in for apt-get: what the scripts of packages do, and what they are told about starting services.
APT = r"""#!/bin/sh
echo "$@" >> "$ROOT/calls"
case "$*" in *update*) exit 100;; esac
"$ROOT/usr/sbin/policy-rc.d" etcd start; echo "policy $?" >> "$ROOT/calls"
ln -s /lib/systemd/system/etcd.service "$ROOT/etc/systemd/system/multi-user.target.wants/etcd.service"
ln -s /lib/systemd/system/etcd.service "$ROOT/etc/systemd/system/etcd2.service"
ln -s ../init.d/etcd "$ROOT/etc/rc2.d/S01etcd"
echo "Reading package lists..."; echo "Setting up etcd-server (3.5)"; echo "dpkg: no" >&2
exit "${STATUS:-0}"
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "root"
    for directory in ("bin", "etc/systemd/system/multi-user.target.wants", "etc/rc2.d"):
        (root / directory).mkdir(parents=True)
    for link in ("etc/systemd/system/multi-user.target.wants/ssh.service", "etc/rc2.d/S01ssh"):
        (root / link).symlink_to("/lib/systemd/system/ssh.service")
    (root / "bin/apt-get").write_text(APT)
    (root / "bin/apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", f"{root}/bin:{os.environ['PATH']}")
    monkeypatch.setenv("ROOT", str(root))
    monkeypatch.setattr(packages, "ROOT", root)
    monkeypatch.setattr(packages, "_installed", lambda _name: False)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return root


def links(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_symlink())


LEFT = ["etc/rc2.d/K01etcd", "etc/rc2.d/S01ssh", "etc/systemd/system/multi-user.target.wants/ssh.service"]


def test_no_service_is_started_or_left_enabled(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert packages.install("etcd-server") is None
    assert "policy 101" in (root / "calls").read_text()
    assert links(root) == LEFT
    assert not (root / "usr/sbin/policy-rc.d").exists()
    assert capsys.readouterr().out == "installing etcd-server\n  Setting up etcd-server (3.5)\n"


def test_a_failed_installation_enables_nothing_either(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATUS", "3")
    with pytest.raises(SystemExit, match="exit 3: dpkg: no"):
        packages.install("etcd-server")
    assert links(root) == LEFT
    assert not (root / "usr/sbin/policy-rc.d").exists()


def test_a_policy_of_the_machine_is_kept(root: Path) -> None:
    policy = root / "usr/sbin/policy-rc.d"
    policy.parent.mkdir(parents=True)
    policy.write_text("#!/bin/sh\nexit 104\n")
    policy.chmod(0o755)
    packages.install("etcd-server")
    assert policy.read_text().endswith("exit 104\n")
    assert links(root) == LEFT


def test_a_policy_that_a_killed_run_left_is_removed(root: Path) -> None:
    policy = root / "usr/sbin/policy-rc.d"
    policy.parent.mkdir(parents=True)
    policy.write_text(packages._POLICY)
    policy.chmod(0o755)
    packages.install("etcd-server")
    assert not policy.exists()


def apt_get(root: Path, script: str) -> None:
    (root / "bin/apt-get").write_text(f'#!/bin/sh\necho "$@" >> "$ROOT/calls"\n{script}\n')


@pytest.mark.process
def test_archives_that_cannot_be_fetched_are_named_after_one_update(root: Path) -> None:
    apt_get(root, 'case "$*" in *"download b") echo b > b_1_all.deb;; *) echo "E: none" >&2; exit 100;; esac')
    assert packages.fetch(root / "to", "a", "b", "c") == ("a cannot be fetched: E: none\nc cannot be fetched: E: none")
    assert [path.name for path in (root / "to").iterdir()] == ["b.deb"]
    calls = [line.rpartition("20 ")[2] for line in (root / "calls").read_text().splitlines()]
    assert calls == ["download a b c", "update", "download a b c", "download a", "download b", "download c"]


@pytest.mark.process
def test_one_call_of_apt_fetches_all_archives(root: Path) -> None:
    apt_get(root, "echo a > a_1_all.deb; echo b > b-c_1%3a2_amd64.deb")
    assert packages.fetch(root / "to", "a", "b-c") is None
    assert sorted(path.name for path in (root / "to").iterdir()) == ["a.deb", "b-c.deb"]
    assert (root / "calls").read_text().count("\n") == 1


@pytest.mark.process
def test_a_server_that_never_ends_is_given_up(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    apt_get(root, "exec sleep 1000")
    monkeypatch.setattr(packages, "LIMIT", 0.1)
    reason = "cannot be fetched: it took longer than 0.1 s"
    assert packages.fetch(root / "to", "a", "b") == f"a {reason}\nb {reason}"


def test_where_root_was_before_nothing_is_fetched(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "TemporaryDirectory", refuse)
    assert packages.fetch(root / "to", "a") == "a cannot be fetched: [Errno 13] Permission denied"


@pytest.mark.parametrize(("arguments", "etcd"), [((), False), (("VIP=1",), True)])
def test_make_run_asks_for_no_more_than_a_cluster_needs(arguments: tuple[str, ...], etcd: bool) -> None:
    root = Path(__file__).parents[2]
    shown = subprocess.run(
        ("make", "--dry-run", "--silent", "run", *arguments), cwd=root, capture_output=True, text=True, timeout=PATIENCE
    ).stdout
    (line,) = (line for line in shown.splitlines() if "packages.py iproute2" in line)
    assert line.split(" || true")[0].split("packages.py ")[1].split() == [
        *("iproute2", "nftables", "$(modprobe", "--quiet", "wireguard", "||", "echo", "wireguard-go)"),
        *(["etcd-server"] if etcd else []),
    ]
    assert "[dev]" not in shown
