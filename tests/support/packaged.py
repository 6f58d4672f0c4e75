"""The package of this tree for tests, and machines with systemd that have it."""

import functools
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from deploy import deb
from deploy.epoch import source_date_epoch
from deploy.errors import BuildError
from deploy.tree import Release, stage
from nodespan.runtime.cli.client import ask
from tests.support.systemd import PROJECT, Booted

BEFORE, NOW = "0.0.9", "0.1.0"
CACHE = PROJECT / ".cache/deploy"


def build(directory: Path, *, versions: Iterable[str] = (BEFORE, NOW)) -> Path:
    """A directory with the package of this tree, as each of these versions. Blocks for seconds."""
    output = directory / "dist"
    output.mkdir()
    release = functools.partial(Release, architecture=deb.own_architecture(), epoch=source_date_epoch(), fast=True)
    tree = directory / "tree"
    try:
        stage(tree, release(version=NOW), cache=CACHE)
    except BuildError as error:
        if "cannot be fetched" in str(error):
            pytest.skip(str(error))
        raise
    for version in versions:
        deb.build(tree, release(version=version), output=output)
    return output


def shared(packages: Path, place: Path) -> Path:
    """A directory that a machine sees, with the packages in it."""
    (place / "dist").mkdir(parents=True)
    for package in packages.iterdir():
        os.link(package, place / "dist" / package.name)
    return place


@attrs.frozen
class Machine:
    """A machine as its administrator sees it, and the directory with the packages."""

    machine: Booted
    directory: Path

    async def run(self, *command: str) -> str:
        """What a command prints."""
        return await trio.to_thread.run_sync(functools.partial(self.machine.run, *command))

    async def install(self, version: str) -> str:
        """Install the package of a version, whose dependencies are there."""
        return await self.run(
            "dpkg", "--install", f"{self.directory}/nodespan_{version}-1_{deb.own_architecture()}.deb"
        )

    def has(self, path: str) -> bool:
        """Whether there is such a file."""
        return self.machine.succeeds("test", "-e", path)

    def mode(self, path: str) -> str:
        """`600 root`."""
        return self.machine.run("stat", "--format=%a %U", path).strip()

    def unit(self, unit: str) -> tuple[str, str]:
        """Whether it is active, and enabled."""
        shown = self.machine.run("systemctl", "show", "--property=ActiveState,UnitFileState", unit)
        found = dict(line.split("=", 1) for line in shown.splitlines())
        return found["ActiveState"], found["UnitFileState"]

    def peers(self) -> dict[str, str]:
        """The states of its peers by label, asked past its file system."""
        socket = f"/proc/{self.machine.pid}/root/run/nodespan/agent.sock"
        request: dict[str, Any] = {"call": "get", "type": "kubespanpeerstatuses", "namespace": "", "id": None}
        answers = ask(socket, {**request, "selectors": [], "watch": False, "form": "data"})
        specs = [answer["resource"]["spec"] for answer in answers if "resource" in answer]
        return {spec["label"]: spec["state"] for spec in specs}

    def pid(self) -> str:
        """The process of the agent, 0 for none."""
        return self.machine.run("systemctl", "show", "--property=MainPID", "--value", "nodespan").strip()
