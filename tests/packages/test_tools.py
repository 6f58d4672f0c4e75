"""`pipx install` and `uv tool install` of the wheel and of the sdist: `make test-packages`."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.tree import project_version
from tests.support.agent import environment
from tests.test_distribution import ROOT, build

pytestmark = pytest.mark.soak

INSTALL = {
    "pipx": ("-m", "pipx", "install"),
    "uv": ("-m", "uv", "tool", "install", "--quiet", "--python", sys.executable),
}


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("archives")
    return {kind: build(kind, ROOT, place) for kind in ("wheel", "sdist")}


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
@pytest.mark.parametrize("tool", INSTALL)
def test_the_command_is_there_for_its_user(tool: str, kind: str, archives: dict[str, Path], tmp_path: Path) -> None:
    if importlib.util.find_spec(tool) is None:
        pytest.skip(f"{tool} is not installed (pip)")
    own = {
        "PIPX_HOME": "pipx",
        "PIPX_BIN_DIR": "bin",
        "UV_TOOL_DIR": "uv",
        "UV_TOOL_BIN_DIR": "bin",
        "UV_CACHE_DIR": "cache",
    }
    places = {name: str(tmp_path / directory) for name, directory in own.items()}
    done = subprocess.run(
        (sys.executable, *INSTALL[tool], str(archives[kind])),
        env={**os.environ, **places},
        capture_output=True,
        text=True,
    )
    if done.returncode != 0 and ("No matching distribution" in done.stderr or "Failed to fetch" in done.stderr):
        pytest.skip(f"the dependencies cannot be fetched: {done.stderr.splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / "bin").iterdir()} == {"nodespan", "get-resources"}

    def run(*arguments: str) -> str:
        command = (str(tmp_path / "bin/nodespan"), *arguments)
        return subprocess.run(command, env=environment(tmp_path), check=True, capture_output=True, text=True).stdout

    assert f"v{project_version()}" in run("version", "--client")
    # By entry points it finds what it is made of.
    assert 'label="network.LinkStatusController"' in run("graph")
    assert "contexts|use|merge" in run("config", "--help")
