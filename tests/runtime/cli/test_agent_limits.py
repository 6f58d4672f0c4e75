"""An agent that would hang for lack of address space does not start."""

import resource
from pathlib import Path

import pytest

from nodespan.runtime.cli import main
from nodespan.runtime.cli.agent import _check_address_space
from nodespan.runtime.cli.errors import CommandError

MIB = 2**20


@pytest.mark.parametrize("limit", [100 * MIB, 300 * MIB, 640 * MIB - 1])
def test_a_limit_below_what_all_threads_reserve_is_refused(limit: int) -> None:
    with pytest.raises(CommandError, match=f"limited to {limit // MIB} MiB of address space .* give it 640 MiB"):
        _check_address_space(limit)


@pytest.mark.parametrize("limit", [640 * MIB, 2**40, resource.RLIM_INFINITY])
def test_others_are_not(limit: int) -> None:
    _check_address_space(limit)


def test_the_agent_looks_before_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (300 * MIB if kind == resource.RLIMIT_AS else 0, 0))
    state, socket = tmp_path / "state", tmp_path / "agent.sock"
    assert main(["agent", "--state-dir", str(state), "--socket", str(socket)]) == 1
    assert "300 MiB of address space" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
