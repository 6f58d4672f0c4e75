"""`nodespan version`, `nodespan validate`."""

import importlib.metadata
import os
from pathlib import Path

import pytest

from tests.support.agent import agent, nodespan

TAG = f"v{importlib.metadata.version('nodespan')}"


async def test_the_version_of_the_agent_stands_beside_that_of_the_command(tmp_path: Path) -> None:
    async with agent(tmp_path) as served:
        client, server = served.run("version").split("Server:\n")
        assert client.startswith(f"Client:\n    Tag:      {TAG}\n")
        assert server == f"    NODE:     {os.uname().nodename}\n    Tag:      {TAG}\n    PID:      {served.pid}\n"


def test_without_an_agent_the_version_says_so(tmp_path: Path) -> None:
    done = nodespan("version", directory=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"    Tag:      {TAG}\n" in done.stdout
    assert "Server:\n    no agent answers at" in done.stdout


def test_the_version_of_the_command_alone_needs_no_agent(tmp_path: Path) -> None:
    assert "Server" not in nodespan("version", "--client", directory=tmp_path).stdout


GOOD = "machine:\n  type: worker\n"
BAD = "machine:\n  type: worker\n  network:\n    interfaces:\n      - interface: eth0\n        mtu: many\n"


def test_a_good_file_is_valid(tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text(GOOD)
    done = nodespan("validate", "good.yaml", directory=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "good.yaml is valid: 0 errors, 0 warnings\n", "")


def test_a_bad_file_is_not_and_the_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(BAD)
    done = nodespan("validate", "bad.yaml", directory=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "bad.yaml:6:14" in done.stderr
    assert done.stderr.endswith("bad.yaml is not valid: 1 error, 0 warnings\n")


@pytest.mark.parametrize(("text", "status", "verdict"), [(GOOD, 0, "is valid"), (BAD, 1, "is not valid")])
def test_standard_input_is_read(tmp_path: Path, text: str, status: int, verdict: str) -> None:
    done = nodespan("validate", "-", directory=tmp_path, stdin=text)
    assert done.returncode == status
    assert f"<stdin> {verdict}" in done.stdout + done.stderr


@pytest.mark.parametrize(("name", "words"), [("nosuch.yaml", "No such file"), (".", "no file in this directory")])
def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path, name: str, words: str) -> None:
    done = nodespan("validate", name, directory=tmp_path)
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr
