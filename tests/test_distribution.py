"""What is shipped: the wheel and the sdist hold what they should, and an installed wheel works anywhere."""

import os
import re
import signal
import stat
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from tests.support.agent import environment

pytest.importorskip("hatchling", reason="hatchling, the build backend, is not installed: pip install -e .[dev]")
pytest.importorskip("pip", reason="pip is not installed in this environment")

ROOT = Path(__file__).parents[1]
NOT_SHIPPED = ("__pycache__", ".hypothesis", ".mypy_cache", ".ruff_cache", ".pytest_cache")
BUILD = """
import sys
from hatchling.build import build_sdist, build_wheel
print(build_wheel(sys.argv[1]) if sys.argv[2] == "wheel" else build_sdist(sys.argv[1]))
"""
# The controller of the tutorial with inputs that do not depend on the machine.
USE = """
import trio
import nodespan
from banner import Banner, BannerController
from nodespan.resources.network import HostnameStatus, HostnameStatusSpec, NodeAddress, NodeAddressSpec
from nodespan.runtime.testing import running

async def main():
    async with running(BannerController()) as node:
        await node.create(HostnameStatus.new("hostname", HostnameStatusSpec(hostname="one")))
        await node.create(NodeAddress.new("default", NodeAddressSpec(addresses=("192.0.2.1/24",))))
        print((await node.eventually(Banner, "banner")).spec.text)

trio.run(main)
print(nodespan.__file__)
"""


def build(kind: str, source: Path, target: Path) -> Path:
    """Build without network or isolation; returns the archive."""
    command = [sys.executable, "-c", BUILD, str(target), kind]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return target / done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("sdist", ROOT, tmp_path_factory.mktemp("sdist"))


def files(top: str) -> Iterator[str]:
    """The files of the checkout below a folder, through the links of nodespan/, or the one file."""
    if (ROOT / top).is_file():
        yield top
    for folder, folders, names in os.walk(ROOT / top, followlinks=True):
        folders[:] = [name for name in folders if name not in NOT_SHIPPED]
        yield from (str((Path(folder) / name).relative_to(ROOT)) for name in names)


def test_the_wheel_has_every_file_of_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        entries = archive.infolist()
    assert [entry.filename for entry in entries if stat.S_ISLNK(entry.external_attr >> 16)] == []
    shipped = {entry.filename for entry in entries if ".dist-info/" not in entry.filename}
    assert shipped == set(files("nodespan"))
    assert "nodespan/py.typed" in shipped
    described = {entry.filename.partition(".dist-info/")[2] for entry in entries} - {""}
    assert described == {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE"}


def test_the_sdist_has_what_its_list_names_and_no_links(sdist: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    with tarfile.open(sdist) as archive:
        members = archive.getmembers()
    assert [member.name for member in members if member.issym() or member.islnk()] == []
    shipped = {member.name.partition("/")[2] for member in members if member.isfile()}
    listed = project["tool"]["hatch"]["build"]["targets"]["sdist"]["only-include"]
    expected = {file for top in listed for file in files(top)}
    assert shipped - {"PKG-INFO", ".gitignore", "pyproject.toml"} == expected


def test_the_sdist_builds_the_same_wheel(sdist: Path, wheel: Path, tmp_path: Path) -> None:
    subprocess.run(["tar", "--extract", "--file", str(sdist), "--directory", str(tmp_path)], check=True)
    (source,) = tmp_path.iterdir()
    again = build("wheel", source, tmp_path)
    assert contents(again) == contents(wheel)


def contents(wheel: Path) -> dict[str, int]:
    """Checksums of the files of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return {entry.filename: entry.CRC for entry in archive.infolist()}


@attrs.frozen
class Installed:
    """A fresh environment with the wheel in it, and a directory elsewhere with the controller of the tutorial."""

    programs: Path
    directory: Path

    def run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one of the environment's programs to its end."""
        command = [str(self.programs / program), *arguments]
        return subprocess.run(command, cwd=self.directory, env=self.environment, capture_output=True, text=True)

    @property
    def environment(self) -> dict[str, str]:
        """The variables of a user, and where this test's agent is."""
        return {name: value for name, value in environment(self.directory).items() if name != "PYTHONPATH"}


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    directory = tmp_path_factory.mktemp("away")
    fresh = directory / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(fresh)], check=True)
    pip = [sys.executable, "-m", "pip", "--python", str(fresh / "bin/python"), "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "install", "--no-index", "--no-deps", str(wheel)], check=True)
    # The dependencies are those that these tests run with: they need no network. Of the directories of a .pth file the
    # .pth files are not read, so the checkout, which is installed there as editable, stays out of sight.
    (packages,) = fresh.glob("lib/python3*/site-packages")
    (packages / "dependencies.pth").write_text(
        "\n".join({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
    )
    text = (ROOT / "docs/tutorial/first-controller.md").read_text()
    (controller,) = re.findall(r"^## A controller of your own\n+```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    (directory / "banner.py").write_text(controller)
    return Installed(fresh / "bin", directory)


def test_the_controller_of_the_tutorial_works_with_an_installed_wheel(installed: Installed) -> None:
    done = installed.run("python", "-c", USE)
    assert done.returncode == 0, done.stderr
    text, place = done.stdout.splitlines()
    assert text == "one is at 192.0.2.1/24"
    assert Path(place).is_relative_to(installed.directory)


def test_the_installed_command_finds_its_controllers_and_those_of_users(installed: Installed) -> None:
    done = installed.run("nodespan", "graph", "--controllers", "banner:BannerController")
    assert (done.returncode, done.stderr) == (0, "")
    for name in ("network.LinkStatusController", "kubespan.PeerController", "example.BannerController"):
        assert f'label="{name}"' in done.stdout


def test_the_installed_agent_runs_the_controller_of_the_tutorial(installed: Installed) -> None:
    command = [str(installed.programs / "nodespan"), "agent", "--controllers", "banner:BannerController"]
    place, variables = installed.directory, installed.environment
    with subprocess.Popen(command, cwd=place, env=variables, stderr=subprocess.PIPE, text=True) as agent:
        assert agent.stderr
        said = []
        for line in agent.stderr:
            said.append(line)
            if "agent runs" in line:
                break
        else:
            pytest.fail("".join(said))
        banners = installed.run("nodespan", "get", "banners")
        namespace = installed.run("nodespan", "get", "namespaces", "network", "-o", "yaml")
        agent.send_signal(signal.SIGTERM)
        agent.stderr.read()
    assert agent.returncode == 0
    assert banners.returncode == 0, banners.stderr
    assert "The network: observed state" in namespace.stdout
