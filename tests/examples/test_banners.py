"""The example of resources that users write: wishes, what is done about them, and all of it after a kill -9."""

import os
import signal
from pathlib import Path

import pytest

from examples.banners import Banner, BannerController, BannerSpec, BannerStatus, BannerStatusSpec
from nodespan.runtime.cli.command import run
from nodespan.runtime.cli.completion import candidates
from nodespan.runtime.testing import running
from tests.support.agent import AgentProcess, agent
from tests.support.process import eventually

ROOT = Path(__file__).parents[2]
BANNERS = str(ROOT / "examples/banners.yaml")
OPTIONS = ("--config", str(ROOT / "examples/banners.config.yaml"), "--controllers", "examples.banners:controllers")
# The agent looks for the module where it was started, too.
START = ("env", f"PYTHONPATH={ROOT}")


async def test_a_banner_is_written_followed_and_removed(tmp_path: Path) -> None:
    async with running(BannerController(tmp_path)) as node:
        await node.create(Banner.new("a", BannerSpec(text="one")))
        await node.create(Banner.new("x/../../y", BannerSpec(text="no file")))
        status = await node.eventually(BannerStatus, "a")
        assert status.spec == BannerStatusSpec(path=str(tmp_path / "a.txt"))
        assert _content(tmp_path / "a.txt") == "one\n"
        assert (await node.eventually(BannerStatus, "x/../../y")).spec.path == ""
        await node.teardown(Banner, "a")
        # The engine destroys what a user tore down.
        await node.gone(Banner, "a")
        await node.gone(BannerStatus, "a")
        assert [path.name for path in _files(tmp_path)] == []


async def test_what_users_requested_survives_kill_9(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = tmp_path / "state"
    monkeypatch.setenv("NODESPAN_SOCKET", str(tmp_path / "agent.sock"))

    def say(*arguments: str, status: int = 0) -> str:
        """What a command prints, run in this process."""
        capsys.readouterr()
        found = run(list(arguments))
        said = capsys.readouterr()
        assert found == status, said.err
        return said.err if status else said.out

    async with agent(tmp_path, *OPTIONS, wrapper=START) as first:
        assert say("apply", "-f", BANNERS) == "banner/welcome created\nbanner/warning created\n"
        await eventually(lambda: _check_statuses(first))
        os.kill(first.pid, signal.SIGKILL)
    async with agent(tmp_path, *OPTIONS, wrapper=START) as second:
        _check_statuses(second)
        shown = say("get", "banner", "welcome", "-o", "yaml")
        assert "version: 2" in shown  # created, and held by the controller
        assert "for: everybody" in shown
        assert say("apply", "-f", BANNERS) == "banner/welcome unchanged\nbanner/warning unchanged\n"

        # Refused at the door, with the place of each mistake.
        bad = tmp_path / "bad.yaml"
        bad.write_text("metadata: {type: banner, id: x}\nspec:\n    txt: hello\n    times: three\n")
        refused = say("create", "-f", str(bad), status=1)
        assert f"{bad}:3:5: spec.txt: unknown key, did you mean 'text'?" in refused
        assert f"{bad}:4:12: spec.times: must be a whole number, not 'three'" in refused
        assert f"{bad}:2:1: spec.text: is missing" in refused
        assert "BannerStatus is not for users to write" in say("delete", "bannerstatus", "welcome", status=1)

        # Edited, labeled, deleted.
        editor = tmp_path / "editor"
        editor.write_text('#!/bin/sh\nsed -i s/Mind/Watch/ "$1"\n')
        editor.chmod(0o755)
        monkeypatch.setenv("VISUAL", str(editor))
        assert say("edit", "banner", "welcome") == "banner/welcome edited\n"
        await eventually(lambda: _expect(files / "welcome.txt", "Watch the step.\n"))
        assert say("label", "banner", "welcome", "for-", "tier=a") == "banner/welcome labeled\n"
        assert "not a change of a label" in say("label", "banner", "welcome", "tier", status=1)
        assert say("get", "banners", "-l", "tier=a,!for").count("welcome") == 1
        assert say("delete", "banner", "welcome", "warning").splitlines() == [
            "banner/welcome deleting, held by example.BannerController",
            "banner/welcome deleted",
            "banner/warning deleting, held by example.BannerController",
            "banner/warning deleted",
        ]
        assert second.specs("banners") == second.specs("bannerstatuses") == {}
        assert not (files / "welcome.txt").exists()
        assert candidates(["delete", ""], str(second.socket)) == ["banners.example.dev"]


def _check_statuses(of: AgentProcess) -> bool:
    files = of.directory / "state"
    assert of.specs("bannerstatuses") == {
        id: {"path": str(files / f"{id}.txt"), "error": ""} for id in ("warning", "welcome")
    }
    return _expect(files / "warning.txt", "All of this is recorded.\n" * 2)


def _expect(path: Path, text: str) -> bool:
    assert path.read_text() == text
    return True


def _content(path: Path) -> str:
    return path.read_text()


def _files(directory: Path) -> list[Path]:
    return list(directory.iterdir())
