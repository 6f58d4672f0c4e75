"""`nodespan apply`, with a real agent and without one."""

import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.agent import AgentProcess, agent, nodespan
from tests.support.process import eventually

GOOD = "machine:\n  type: worker\n"
OTHER = "machine:\n  type: controlplane\n"
BAD = "machine:\n  type: worker\n  kubespan: {}\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "name the files to apply"),
        (("--confirm", "good.yaml"), "give nothing else"),
        (("--cancel", "--mode", "try"), "give nothing else"),
        (("--dry-run", "--mode", "try", "good.yaml"), "give only one of the two"),
        (("nosuch.yaml",), "nosuch.yaml: No such file or directory"),
        (("empty",), "empty: no file in this directory ends in .yaml"),
        (("large.yaml",), "too large"),
        (("-p", "@/dev/zero", "good.yaml"), "the patch /dev/zero: there are more than"),
        (("good.yaml",), "no agent answers at"),
        (("--confirm",), "no agent answers at"),
    ],
)
def test_invalid_options_are_refused_with_a_reason(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    (tmp_path / "good.yaml").write_text(GOOD)
    (tmp_path / "empty").mkdir()
    with (tmp_path / "large.yaml").open("wb") as file:
        file.truncate(5 * 2**20)
    done = nodespan("apply", *arguments, directory=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert words in done.stderr


async def test_a_configuration_is_applied_tried_confirmed_and_shown(tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text(GOOD)
    (tmp_path / "bad.yaml").write_text(BAD)
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "1.yaml").write_text(GOOD)
    (tmp_path / "parts" / "2.yaml").write_text(OTHER)
    kept = tmp_path / "state" / "config.yaml"
    async with _harmless(tmp_path) as served:
        assert served.run("apply", "good.yaml").endswith(f"applied, and kept in {kept}\n")
        assert kept.read_text() == GOOD

        assert "no changes detected" in served.run("patch", "-p", "machine: {type: worker}")
        served.run("patch", "machineconfig", "v1alpha1", "-p", "machine: {env: {A: '1'}}", "--no-wait")
        assert kept.read_text() == 'machine:\n    type: worker\n    env:\n        A: "1"\n'
        refused = nodespan("apply", "-p", '[{"op": "remove", "path": "/machine/env"}]', "good.yaml", directory=tmp_path)
        assert refused.returncode == 1
        assert "failure applying rfc6902 patches" in refused.stderr
        served.run("apply", "--config-patch", "machine: {env: {B: b}}", "--no-wait", "good.yaml")
        assert kept.read_text() == "machine:\n    type: worker\n    env:\n        B: b\n"
        served.run("apply", "--no-wait", "good.yaml")

        refused = nodespan("apply", "bad.yaml", directory=tmp_path)
        assert refused.returncode == 1
        assert "bad.yaml:3:3: error" in refused.stderr
        assert "did you mean machine.network.kubespan?" in refused.stderr
        assert "nothing was changed" in refused.stderr

        served.run("apply", "--mode", "try", "--timeout", "5m", "--no-wait", "parts")
        assert _shown(served, "{.spec.trialUntil}") != ""
        again = nodespan("apply", "good.yaml", directory=tmp_path)
        assert again.returncode == 1
        assert "on trial, for another" in again.stderr
        assert kept.read_text() == GOOD
        served.run("apply", "--confirm")
        assert "controlplane" in kept.read_text()

        by_pipe = nodespan("apply", "-", directory=tmp_path, stdin=GOOD)
        assert "<stdin> is valid" in by_pipe.stdout
        assert kept.read_text() == GOOD

        served.run("apply", "--mode", "try", "--no-wait", "parts")
        served.run("apply", "--rollback", "--no-wait")
        assert "type: worker" in served.run("get", "machineconfig", "v1alpha1", "-o", "yaml")

        kept.unlink()
        await eventually(lambda: "cannot read" in _shown(served, "{.spec.error}"))


async def test_a_dry_run_shows_and_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "links.yaml").write_text(
        GOOD + "  network: {interfaces: [{interface: dummy7, dummy: true, addresses: [10.0.0.5/24]}]}\n"
    )
    async with _harmless(tmp_path) as served:
        shown = served.run("apply", "--dry-run", "links.yaml")
        assert "  + link dummy7 (dummy)\n" in shown
        assert "  + AddressSpec dummy7/10.0.0.5/24: address 10.0.0.5/24" in shown
        assert not (tmp_path / "state" / "config.yaml").exists()


async def test_several_files_are_the_configuration_of_an_agent(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GOOD)
    (tmp_path / "b.yaml").write_text(OTHER)
    async with _harmless(tmp_path, "--config", "a.yaml", "--config", "b.yaml") as served:
        assert _shown(served, "{.spec.files[*]}").split() == ["a.yaml", "b.yaml"]
        refused = nodespan("apply", "a.yaml", directory=tmp_path)
        assert refused.returncode == 1
        assert "started with --config a.yaml, b.yaml, which is not one file" in refused.stderr


def _shown(served: AgentProcess, path: str) -> str:
    return served.run("get", "configstatus", "v1alpha1", "-o", f"jsonpath={path}").strip()


@contextlib.asynccontextmanager
async def _harmless(directory: Path, *options: str) -> AsyncIterator[AgentProcess]:
    """An agent that can change nothing of this machine."""
    wrapper = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs") if os.geteuid() == 0 else ()
    root = directory / "root"
    root.mkdir()
    async with agent(directory, "--root", str(root), *options, wrapper=wrapper) as served:
        yield served
