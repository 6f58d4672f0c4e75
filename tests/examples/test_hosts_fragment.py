"""The example of a user's own controller does what it says: its rule, on a state and a real file, and in an agent."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import attrs
import pytest

from examples.hosts_fragment import (
    HostsFragment,
    HostsFragmentController,
    HostsFragmentSpec,
    controllers,
    wanted_fragment,
    write_fragment,
)
from nodespan.resources.network import HOSTNAME_ID, HostnameStatus, HostnameStatusSpec, NodeAddress, NodeAddressSpec
from nodespan.runtime.plugins import GROUP, Settings, load_named
from nodespan.runtime.resource import Resource
from nodespan.runtime.testing.kit import Node
from nodespan.runtime.testing.kit import running as running_controllers
from tests.support.deadlines import PATIENCE
from tests.support.process import eventually
from tests.support.process import running as running_process

ROOT = Path(__file__).parents[2]
NODESPAN = str(Path(sys.executable).with_name("nodespan"))


async def give(node: Node, *addresses: str, hostname: str = "one", domainname: str = "") -> None:
    """Let the node have these addresses and this name."""
    await node.put(NodeAddress, "current", NodeAddressSpec(addresses=addresses))
    await node.put(HostnameStatus, HOSTNAME_ID, HostnameStatusSpec(hostname=hostname, domainname=domainname))


@pytest.mark.parametrize(
    ("addresses", "hostname", "domainname", "names"),
    [
        (("10.0.0.5/24", "fd00::5/64"), "one", "", ("one",)),
        (("10.0.0.5/24",), "one", "example.org", ("one.example.org", "one")),
    ],
)
def test_a_fragment_has_all_names_and_no_prefix_lengths(
    addresses: tuple[str, ...], hostname: str, domainname: str, names: tuple[str, ...]
) -> None:
    wanted = wanted_fragment(
        Path("/x"),
        NodeAddress.new("current", NodeAddressSpec(addresses=addresses)),
        HostnameStatus.new(HOSTNAME_ID, HostnameStatusSpec(hostname=hostname, domainname=domainname)),
    )
    plain = tuple(address.split("/")[0] for address in addresses)
    assert wanted == HostsFragmentSpec(path="/x", names=names, addresses=plain)


@pytest.mark.parametrize(
    ("addresses", "hostname"),
    [
        (None, HostnameStatus.new(HOSTNAME_ID, HostnameStatusSpec(hostname="one"))),
        (NodeAddress.new("current", NodeAddressSpec(addresses=("10.0.0.5/24",))), None),
        (
            NodeAddress.new("current", NodeAddressSpec()),
            HostnameStatus.new(HOSTNAME_ID, HostnameStatusSpec(hostname="one")),
        ),
    ],
)
def test_without_a_name_or_an_address_there_is_no_fragment(
    addresses: Resource[NodeAddressSpec] | None, hostname: Resource[HostnameStatusSpec] | None
) -> None:
    assert wanted_fragment(Path("/x"), addresses, hostname) is None


def test_a_file_that_says_it_already_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    fragment = HostsFragmentSpec(path=str(path), names=("one",), addresses=("10.0.0.5",))
    write_fragment(path, fragment)
    before = path.stat()
    write_fragment(path, fragment)
    assert path.stat().st_ino == before.st_ino
    write_fragment(path, attrs.evolve(fragment, addresses=("10.0.0.6",)))
    assert path.stat().st_ino != before.st_ino
    assert [each.name for each in tmp_path.iterdir()] == ["hosts"]


async def test_the_file_follows_the_addresses_and_goes_with_the_last(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    async with running_controllers(HostsFragmentController(path)) as node:
        await give(node, "10.0.0.5/24", "fd00::5/64")
        await node.eventually(HostsFragment, "hosts", where=lambda found: len(found.spec.addresses) == 2)
        assert path.read_text() == "10.0.0.5 one\nfd00::5 one\n"
        await give(node, "fd00::5/64", domainname="example.org")
        await node.eventually(HostsFragment, "hosts", where=lambda found: found.spec.addresses == ("fd00::5",))
        await node.eventually(HostsFragment, "hosts", where=lambda found: len(found.spec.names) == 2)
        assert path.read_text() == "fd00::5 one.example.org one\n"
        await give(node)
        await node.gone(HostsFragment, "hosts")
        assert not path.exists()


async def test_what_an_earlier_run_left_in_the_file_is_made_right(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text("192.0.2.1 gone\n")
    async with running_controllers(HostsFragmentController(path)) as node:
        await node.settled()
        assert not path.exists()
        path.write_text("192.0.2.1 gone\n")
        await give(node, "10.0.0.5/24")
        await node.eventually(HostsFragment, "hosts")
        assert path.read_text() == "10.0.0.5 one\n"


async def test_a_directory_that_is_not_there_is_an_error_that_is_shown_and_tried_again(tmp_path: Path) -> None:
    directory = tmp_path / "later"
    async with running_controllers(HostsFragmentController(directory / "hosts"), allow_crashes=True) as node:
        await give(node, "10.0.0.5/24")
        assert isinstance(await node.crashed("example.HostsFragmentController"), FileNotFoundError)
        assert node.state.find(HostsFragment, "hosts") is None
        directory.mkdir()
        await node.eventually(HostsFragment, "hosts")


def test_the_path_comes_from_the_environment_or_from_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOSTS_FRAGMENT", str(tmp_path / "a"))
    assert HostsFragmentController()._path == tmp_path / "a"
    monkeypatch.delenv("HOSTS_FRAGMENT")
    assert HostsFragmentController()._path == Path("hosts.fragment")
    assert controllers(Settings(state_dir=tmp_path))._path == tmp_path / "hosts.fragment"


def test_the_entry_points_of_the_package_are_controllers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "examples")  # the modules as they are named once installed
    project = tomllib.loads((ROOT / "examples/pyproject.toml").read_text())["project"]
    names = [
        controller.name
        for reference in project["entry-points"][GROUP].values()
        for controller in load_named(reference, Settings(state_dir=tmp_path))
    ]
    assert names == ["example.HostsFragmentController", "example.LinkSummaryController"]


async def test_a_real_agent_runs_it(tmp_path: Path) -> None:
    fragment, socket = tmp_path / "hosts", tmp_path / "s"
    environment = {
        "HOSTS_FRAGMENT": str(fragment),
        "NODESPAN_SOCKET": str(socket),
        "NODESPAN_STATE_DIR": str(tmp_path / "state"),
        # The agent looks for the module where it is started, and this test may be started anywhere.
        "PYTHONPATH": str(ROOT),
    }

    def get(*arguments: str) -> str:
        command = [NODESPAN, "--socket", str(socket), "get", *arguments, "-o", "json"]
        return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False).stdout

    def addresses() -> list[str]:
        current = get("nodeaddress", "current")
        assert current, "the agent has not looked yet"
        return [address.split("/")[0] for address in json.loads(current)["spec"]["addresses"]]

    def says_the_same() -> bool:
        # Which addresses this machine has, and whether it has any, is not for the test to say.
        written = [line.split()[0] for line in fragment.read_text().splitlines()] if fragment.exists() else []
        shown = get("hostsfragments", "hosts")
        return addresses() == written == (json.loads(shown)["spec"]["addresses"] if shown else [])

    reference = "examples.hosts_fragment:HostsFragmentController"
    async with running_process(NODESPAN, "agent", "--controllers", reference, environment=environment) as agent:
        await eventually(lambda: bool(get("hostnamestatus", "hostname")))
        await eventually(says_the_same)
        assert agent.returncode is None
