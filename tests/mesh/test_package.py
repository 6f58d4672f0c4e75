"""The package on machines with systemd: two of them, two commands, one mesh; then upgraded, removed, purged."""

from pathlib import Path

import pytest
import trio

from tests.support.inside import FEW_AUTHORITIES
from tests.support.netns import connect
from tests.support.packaged import BEFORE, NOW, Machine, build, shared
from tests.support.process import eventually
from tests.support.systemd import booted, no_systemd

pytestmark = [
    # Part of `make test-packages`.
    pytest.mark.soak,
    pytest.mark.needs_program(
        "unshare", "nsenter", "setpriv", "dpkg-deb", "nft", "systemd-sysusers", "/usr/bin/python3"
    ),
    pytest.mark.skipif(no_systemd(archives=False) is not None, reason=no_systemd(archives=False) or ""),
]

ADDRESSES = {"one": "192.0.2.1", "two": "192.0.2.2"}


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("packages"))


async def test_two_machines_two_commands_and_what_comes_after(tmp_path: Path, packages: Path) -> None:
    places = {name: shared(packages, tmp_path / name) for name in ADDRESSES}
    async with (
        booted(places["one"], archives=False) as first,
        booted(places["two"], archives=False) as second,
    ):
        one, two = Machine(first, places["one"] / "dist"), Machine(second, places["two"] / "dist")
        connect(first.network, "eth0", second.network, "eth0")
        for name, machine in (("one", one), ("two", two)):
            machine.machine.network.ip(f"address add {ADDRESSES[name]}/24 dev eth0")
            await machine.run("hostname", name)
            # Hooks of other packages would run dpkg while the agent has the system trust an authority.
            await machine.run("sh", "-c", FEW_AUTHORITIES)
            # The one of images of containers keeps packages from restarting anything; the other one costs seconds.
            await machine.run("rm", "-f", "/usr/sbin/policy-rc.d", "/var/lib/man-db/auto-update")

        # Installed: nothing runs, nothing is enabled, and Python itself does not know the dependencies.
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.install, BEFORE)
            nursery.start_soon(two.install, BEFORE)
        for unit in ("nodespan.service", "nodespan-discovery.service"):
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
