"""The .rpm, installed, upgraded and erased by rpm and by dnf, on a machine with systemd: `make test-packages`.

The machine is Debian's, for its mirrors are those that tests can reach; a package of the test's own stands for what a
distribution of rpm has: it provides what the .rpm requires, in the versions that are there.
"""

import functools
import subprocess
from pathlib import Path

import pytest

from deploy import rpm
from deploy.epoch import source_date_epoch
from deploy.tree import UNITS, Release, stage
from tests.support.packaged import BEFORE, CACHE, NOW, Machine, shared
from tests.support.process import eventually
from tests.support.roots import WITH_RPM, root_of
from tests.support.systemd import booted, no_systemd

pytestmark = [
    pytest.mark.soak,
    pytest.mark.needs_program("unshare", "nsenter", "setpriv", "rpmbuild"),
    pytest.mark.skipif(no_systemd(archives=False) is not None, reason=no_systemd(archives=False) or ""),
]

# What the distribution has, as a package without files.
_BASE = """\
Name: base
Version: {python}
Release: 1
Summary: What the machine has
License: none
Provides: python3 = {python}
{provides}
%description
None.
%files
"""
_PROVIDED = ("nftables", "systemd", "ca-certificates", "/bin/sh")
# Debian's rpm says that it is not for its own machine's packages.
RPM = ("rpm", "--force-debian")
DNF = ("dnf", "--assumeyes", "--disablerepo=*", "--setopt=reposdir=/nowhere", "--setopt=gpgcheck=0")


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the .rpm of this tree, that of the version before, and bases with two versions of Python."""
    directory = tmp_path_factory.mktemp("packages")
    output = directory / "dist"
    output.mkdir()
    release = functools.partial(Release, architecture="amd64", epoch=source_date_epoch(), fast=True)
    stage(directory / "tree", release(version=NOW), cache=CACHE)
    for version in (BEFORE, NOW):
        rpm.build(directory / "tree", release(version=version), output=output)
    for python in ("3.11.2", "3.14.0"):
        provides = "\n".join(f"Provides: {name}" for name in _PROVIDED)
        work = directory / python
        work.mkdir()
        (work / "base.spec").write_text(_BASE.format(python=python, provides=provides))
        defines = ("--define", f"_topdir {work}", "--define", "debug_package %{nil}")
        command = ("rpmbuild", "-bb", "--target", "noarch", *defines, str(work / "base.spec"))
        subprocess.run(command, check=True, capture_output=True)
        (built,) = work.glob("RPMS/*/*.rpm")
        built.rename(output / f"base-{python}.rpm")
    return output


def path_of(place: Path, version: str) -> str:
    return str(place / f"nodespan-{version}-1.x86_64.rpm")


@pytest.mark.parametrize("manager", ["rpm", "dnf"])
async def test_installed_upgraded_and_erased(manager: str, packages: Path, tmp_path: Path) -> None:
    install, upgrade, erase = {
        "rpm": ((*RPM, "--install"), (*RPM, "--upgrade"), (*RPM, "--erase")),
        "dnf": ((*DNF, "install"), (*DNF, "upgrade"), (*DNF, "remove", "--noautoremove")),
    }[manager]
    place = shared(packages, tmp_path) / "dist"
    async with booted(tmp_path, root=root_of(WITH_RPM), archives=False) as found:
        machine = Machine(found, place)
        lines = ("address add 192.0.2.1/24 dev eth0", "link set eth0 up", "link set far up")
        machine.machine.network.ip("link add eth0 type veth peer name far", *lines)

        # What it requires is missing, or too new.
        assert not machine.machine.succeeds(*install, path_of(place, BEFORE))
        await machine.run(*RPM, "--install", str(place / "base-3.14.0.rpm"))
        assert not machine.machine.succeeds(*install, path_of(place, BEFORE))
        await machine.run(*RPM, "--upgrade", "--oldpackage", str(place / "base-3.11.2.rpm"))
        before = await machine.run("find", "/etc", "/usr/lib/systemd", "/usr/bin", "-not", "-path", "/etc/dnf/*")

        await machine.run(*install, path_of(place, BEFORE))
        assert await machine.run(*RPM, "--verify", "nodespan") == ""
        for unit in UNITS:
            assert machine.unit(unit) == ("inactive", "disabled")
        assert machine.mode("/etc/nodespan") == "700 root"
        assert machine.mode("/usr/bin/nodespan") == "755 root"
        assert "nodespan v" in await machine.run("nodespan", "--version")
        assert await machine.run("find", "/usr/lib/nodespan", "-name", "*.pyc")
        for user in ("nodespan-discovery", "nodespan-relay"):
            assert await machine.run("getent", "passwd", user)

        made = await machine.run("nodespan", "init", "--discovery", "--address", "192.0.2.1")
        assert "answers" in made
        agent, link = machine.pid(), await machine.run("ip", "-json", "link", "show", "kubespan")
        await machine.run(*upgrade, path_of(place, NOW))
        assert machine.pid() not in (agent, "0")
        assert await machine.run("ip", "-json", "link", "show", "kubespan") == link
        assert machine.unit("nodespan.service") == ("active", "enabled")
        assert await machine.run("find", "/usr/lib/nodespan", "-name", "*.pyc")
        await eventually(lambda: machine.machine.succeeds("nodespan", "version"))

        # Erased it has left; the node stays what it was, for a package that comes back.
        await machine.run(*erase, "nodespan")
        assert not machine.machine.succeeds("ip", "link", "show", "kubespan")
        assert "nodespan" not in await machine.run("nft", "list", "tables")
        assert machine.has("/etc/nodespan/config.yaml")
        assert not machine.has("/usr/lib/nodespan")
        assert not machine.has("/usr/bin/nodespan")
        assert await machine.run("find", "/etc/systemd/system", "-name", "nodespan*") == ""
        after = await machine.run("find", "/etc", "/usr/lib/systemd", "/usr/bin", "-not", "-path", "/etc/dnf/*")
        own = {path for path in after.splitlines() if path.startswith("/etc/nodespan")}
        backups = ("/etc/passwd-", "/etc/group-", "/etc/shadow-", "/etc/gshadow-", "/etc/.pwd.lock")
        assert set(after.splitlines()) - set(before.splitlines()) - set(backups) == own
