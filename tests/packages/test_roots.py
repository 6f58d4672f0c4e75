"""The package in clean roots of the distributions that it is for, with their systemd: `make test-packages`."""

import shutil
from pathlib import Path

import pytest

from deploy import rpm, tree
from deploy.deb import build as build_deb
from deploy.deb import own_architecture
from deploy.epoch import source_date_epoch
from tests.support.packaged import BEFORE, CACHE, NOW, Machine, build, shared
from tests.support.process import eventually
from tests.support.roots import BOOKWORM, NOBLE, TRIXIE, root_of
from tests.support.systemd import booted, no_systemd

pytestmark = [
    pytest.mark.soak,
    pytest.mark.needs_program("unshare", "nsenter", "setpriv", "dpkg-deb"),
    pytest.mark.skipif(no_systemd(archives=False) is not None, reason=no_systemd(archives=False) or ""),
]


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("packages"))


@pytest.fixture(params=[BOOKWORM, TRIXIE, NOBLE], ids=lambda distribution: distribution.name)
def root(request: pytest.FixtureRequest) -> Path:
    """A clean root."""
    return root_of(request.param)


async def test_installed_upgraded_removed_and_purged(root: Path, packages: Path, tmp_path: Path) -> None:
    place = shared(packages, tmp_path / "machine")
    async with booted(place, root=root, archives=False) as found:
        machine = Machine(found, place / "dist")
        lines = ("address add 192.0.2.1/24 dev eth0", "link set eth0 up", "link set far up")
        machine.machine.network.ip("link add eth0 type veth peer name far", *lines)
        before = await machine.run("find", "/etc", "/usr/lib/systemd", "-not", "-name", "*.dpkg*")

        await machine.install(BEFORE)
        for unit in tree.UNITS:
            assert machine.unit(unit) == ("inactive", "disabled")
        assert machine.mode("/etc/nodespan") == "700 root"
        assert "nodespan v" in await machine.run("nodespan", "--version")
        assert await machine.run("find", "/usr/lib/nodespan", "-name", "*.pyc")
        units = [f"/usr/lib/systemd/system/{unit}" for unit in tree.UNITS]
        await machine.run("systemd-analyze", "verify", "--man=no", *units)

        made = await machine.run("nodespan", "init", "--discovery", "--address", "192.0.2.1")
        assert "answers" in made
        assert "with `sudo nodespan join -`" in made
        assert made.split()[-1].startswith("nst1_")
        agent, link = machine.pid(), await machine.run("ip", "-json", "link", "show", "kubespan")
        await machine.install(NOW)
        assert machine.pid() not in (agent, "0")
        assert await machine.run("ip", "-json", "link", "show", "kubespan") == link

        await machine.run("dpkg", "--remove", "nodespan")
        assert not machine.machine.succeeds("ip", "link", "show", "kubespan")
        assert machine.has("/etc/nodespan/config.yaml")
        assert not machine.has("/usr/lib/nodespan")
        # Installed again it is the same node, enabled as it was.
        await machine.install(NOW)
        assert machine.unit("nodespan.service")[1] == "enabled"
        await machine.run("systemctl", "start", "nodespan")
        await eventually(lambda: machine.machine.succeeds("nodespan", "version"))

        await machine.run("dpkg", "--purge", "nodespan")
        for gone in ("/etc/nodespan", "/var/lib/nodespan", "/var/lib/nodespan-discovery", "/run/nodespan"):
            assert not machine.has(gone), gone
        after = await machine.run("find", "/etc", "/usr/lib/systemd", "-not", "-name", "*.dpkg*")
        # The users of the services stay, as is the habit of Debian.
        backups = ("/etc/passwd-", "/etc/group-", "/etc/shadow-", "/etc/gshadow-", "/etc/.pwd.lock")
        assert set(after.splitlines()) - set(before.splitlines()) - set(backups) == set()


@pytest.mark.needs_program("rpmbuild")
def test_two_builds_give_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    release = tree.Release(version=NOW, architecture=own_architecture(), epoch=source_date_epoch(), fast=True)
    built = []
    for number, (mask, zone) in enumerate([(0o022, "UTC"), (0o000, "Asia/Tokyo")]):
        monkeypatch.setenv("TZ", zone)
        work, output = tmp_path / str(number), tmp_path / f"dist{number}"
        output.mkdir()
        old = os.umask(mask)
        try:
            tree.stage(work / "tree", release, cache=CACHE)
            made = [build(work / "tree", release, output=output) for build in (build_deb, rpm.build)]
        finally:
            os.umask(old)
        built.append([path.read_bytes() for path in made])
        shutil.rmtree(work)
    assert built[0] == built[1]
