"""The package on machines with systemd: installed, a mesh made, and gone; two machines, two commands, one mesh."""

from pathlib import Path

import pytest
import trio

from deploy.tree import UNITS
from tests.support.inside import FEW_AUTHORITIES
from tests.support.netns import connect
from tests.support.packaged import BEFORE, NOW, Machine, build, shared
from tests.support.process import eventually
from tests.support.systemd import booted, no_systemd

pytestmark = [
    pytest.mark.needs_program(
        "unshare", "nsenter", "setpriv", "dpkg-deb", "nft", "systemd-sysusers", "/usr/bin/python3"
    ),
    pytest.mark.skipif(no_systemd(archives=False) is not None, reason=no_systemd(archives=False) or ""),
]

ADDRESSES = {"one": "192.0.2.1", "two": "192.0.2.2"}


# What dpkg and the tools for users and groups leave of any package.
HABITS = ("/etc/passwd-", "/etc/group-", "/etc/shadow-", "/etc/gshadow-", "/etc/.pwd.lock")
PLACES = ("/etc", "/usr/bin", "/usr/lib/systemd", "/usr/share/man/man1")


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("package"), versions=[NOW])


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("packages"))


async def prepared(machine: Machine, name: str, address: str) -> None:
    """Give a machine its address and name, and leave out what takes long and is of other packages."""
    machine.machine.network.ip(f"address add {address}/24 dev eth0")
    await machine.run("hostname", name)
    # Hooks of other packages would run dpkg while the agent has the system trust an authority.
    await machine.run("sh", "-c", FEW_AUTHORITIES)
    # The one of images of containers keeps packages from restarting anything; the other one costs seconds.
    await machine.run("rm", "-f", "/usr/sbin/policy-rc.d", "/var/lib/man-db/auto-update")


async def files_of(machine: Machine) -> set[str]:
    """Every file, link and directory where the package and the agent may leave something."""
    named = await machine.run("find", "/usr", "/var", "-xdev", "-name", "*nodespan*", "-not", "-path", "/var/log/*")
    return {*(await machine.run("find", *PLACES, "-xdev")).splitlines(), *named.splitlines()}


async def test_a_package_makes_a_mesh_and_is_gone_without_a_trace(tmp_path: Path, package: Path) -> None:
    place = shared(package, tmp_path / "one")
    async with booted(place, archives=False) as found:
        machine = Machine(found, place / "dist")
        lines = ("link set eth0 up", "link set far up")
        machine.machine.network.ip("link add eth0 type veth peer name far", *lines)
        await prepared(machine, "one", ADDRESSES["one"])
        before, links = await files_of(machine), await machine.run("ip", "-brief", "link")

        await machine.install(NOW)
        for unit in UNITS:
            assert machine.unit(unit) == ("inactive", "disabled")
        assert machine.mode("/etc/nodespan") == "700 root"
        assert not machine.machine.succeeds("/usr/bin/python3", "-c", "import structlog")
        units = [f"/usr/lib/systemd/system/{unit}" for unit in UNITS]
        await machine.run("systemd-analyze", "verify", "--man=no", *units)

        made = await machine.run("nodespan", "init", "--discovery", "--address", ADDRESSES["one"])
        assert made.split()[-1].startswith("nst1_")
        for unit in ("nodespan.service", "nodespan-discovery.service"):
            assert machine.unit(unit) == ("active", "enabled")
        assert machine.mode("/etc/nodespan/config.yaml") == "600 root"
        assert "healthy" in await machine.run("nodespan", "status")

        # A relay beside it, with its own certificate, which it gets again at a reload.
        assert machine.unit("nodespan-relay.service") == ("inactive", "disabled")
        await machine.run("cp", "--recursive", "/etc/nodespan/discovery", "/etc/nodespan/relay")
        await machine.run("sh", "-c", "echo OPTIONS=--relay-ports 21000-21099 > /etc/nodespan/relay.env")
        await machine.run("systemctl", "start", "nodespan-relay")
        await machine.run("rm", "/run/nodespan-relay/tls.key")
        await machine.run("systemctl", "reload", "nodespan-relay")
        assert machine.mode("/run/nodespan-relay/tls.key") == "400 nodespan-relay"
        assert machine.unit("nodespan-relay.service")[0] == "active"

        await machine.run("dpkg", "--purge", "nodespan")
        assert await files_of(machine) - before - set(HABITS) == set()
        assert not machine.has("/run/nodespan")
        assert await machine.run("ip", "-brief", "link") == links
        assert "nodespan" not in await machine.run("nft", "list", "tables")
        for unit in UNITS:
            assert not machine.machine.succeeds("systemctl", "cat", unit)


# Part of `make test-packages`.
@pytest.mark.soak
async def test_two_machines_two_commands_and_what_comes_after(tmp_path: Path, packages: Path) -> None:
    places = {name: shared(packages, tmp_path / name) for name in ADDRESSES}
    async with (
        booted(places["one"], archives=False) as first,
        booted(places["two"], archives=False) as second,
    ):
        one, two = Machine(first, places["one"] / "dist"), Machine(second, places["two"] / "dist")
        connect(first.network, "eth0", second.network, "eth0")
        for name, machine in (("one", one), ("two", two)):
            await prepared(machine, name, ADDRESSES[name])

        # Installed: nothing runs, nothing is enabled, and Python itself does not know the dependencies.
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.install, BEFORE)
            nursery.start_soon(two.install, BEFORE)
        for unit in UNITS:
            assert one.unit(unit) == ("inactive", "disabled")
        assert one.mode("/etc/nodespan") == "700 root"
        assert not one.machine.succeeds("/usr/bin/python3", "-c", "import structlog")
        assert "nodespan v" in await one.run("nodespan", "--version")

        # Two commands.
        made = await one.run("nodespan", "init", "--discovery", "--address", ADDRESSES["one"])
        token = made.split()[-1]
        assert token.startswith("nst1_")
        joined = await two.run("sh", "-c", f"echo {token} | nodespan join -")
        assert "one is up at 192.0.2.1:51820" in joined
        assert "this node is part of the mesh" in joined
        # In a process-id namespace the agent's own nft has another number to the kernel.
        assert "another program" not in made + joined
        for machine, path in ((one, "/etc/nodespan/talosconfig"), (two, "/etc/nodespan/config.yaml")):
            assert machine.mode(path) == "600 root"
        assert one.unit("nodespan-discovery.service") == ("active", "enabled")
        assert two.unit("nodespan.service") == ("active", "enabled")
        # Once more is the same.
        assert "already; its configuration is kept" in await two.run("sh", "-c", f"echo {token} | nodespan join -")

        # Upgraded: another agent, the same network.
        agent, link = two.pid(), await two.run("ip", "-json", "link", "show", "kubespan")
        await two.install(NOW)
        assert two.pid() not in (agent, "0")
        assert await two.run("ip", "-json", "link", "show", "kubespan") == link
        assert two.unit("nodespan.service") == ("active", "enabled")
        await eventually(lambda: two.peers() == {"one": "up"})

        # Removed: it has left, and could come back.
        await two.run("dpkg", "--remove", "nodespan")
        assert not two.machine.succeeds("ip", "link", "show", "kubespan")
        assert "nodespan" not in await two.run("nft", "list", "tables")
        assert two.has("/etc/nodespan/config.yaml")
        assert not two.has("/usr/lib/nodespan")
        assert not two.has("/usr/bin/nodespan")
        await eventually(lambda: one.peers() == {})

        # Purged: nothing is left.
        await two.run("dpkg", "--purge", "nodespan")
        for path in ("/etc/nodespan", "/var/lib/nodespan", "/run/nodespan", "/etc/systemd/system/nodespan.service"):
            assert not two.has(path), path
        assert await two.run("find", "/etc/systemd/system", "-name", "nodespan*") == ""

        # An agent that was stopped before has left nothing either: the package starts another one to revert it.
        await one.run("systemctl", "stop", "nodespan")
        assert one.machine.succeeds("ip", "link", "show", "kubespan")
        await one.run("dpkg", "--purge", "nodespan")
        assert not one.machine.succeeds("ip", "link", "show", "kubespan")
        assert "nodespan" not in await one.run("nft", "list", "tables")
        assert not one.has("/var/lib/nodespan")
